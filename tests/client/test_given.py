"""The digest of what a round begins with depends on all of it."""

from dataclasses import replace

import numpy as np
import torch

from heron.client.given import given_digest
from tests.conformance.test_algorithms import federation

TERMS = federation("heron").servers.terms
MODEL = {"a": np.arange(3, dtype=np.float32), "b": np.zeros((2, 1), np.float32)}


def test_everything_counts_and_kind_and_order_do_not() -> None:
    first = given_digest(TERMS, (0, 1), MODEL, {}, 9)
    tensors = {name: torch.from_numpy(MODEL[name]) for name in ("b", "a")}
    assert given_digest(TERMS, (0, 1), tensors, {}, 9) == first
    others = [
        given_digest(replace(TERMS, settings=replace(TERMS.settings, seed=7)), (0, 1), MODEL, {}, 9),
        given_digest(TERMS, (1, 0), MODEL, {}, 9),
        given_digest(TERMS, (0, 1), MODEL | {"a": np.zeros(3, np.float32)}, {}, 9),
        given_digest(TERMS, (0, 1), MODEL | {"a": np.arange(3, dtype=np.float32).reshape(1, 3)}, {}, 9),
        given_digest(TERMS, (0, 1), MODEL | {"b": np.zeros((2, 1), np.int32)}, {}, 9),
        given_digest(TERMS, (0, 1), {"c": MODEL["a"], "b": MODEL["b"]}, {}, 9),
        given_digest(TERMS, (0, 1), {"a": MODEL["a"]}, {"b": MODEL["b"]}, 9),
        given_digest(TERMS, (0, 1), MODEL, {"moment": MODEL["a"]}, 9),
        given_digest(TERMS, (0, 1), MODEL, {}, 8),
    ]
    assert len({first, *others}) == 1 + len(others)
