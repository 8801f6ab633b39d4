"""A device's vault: the same round is the same draw, another one is drawn anew and counted, up to what is allowed."""

import numpy as np
import pytest

from heron.errors import WithheldError
from heron.privacy.journal import MemoryNotes
from heron.privacy.node_vault import Allowance, NodeVault
from heron.privacy.secret import Secret

ROOT = Secret(bytes(32))


def vault(store: MemoryNotes, *, run: str = "a1", planned: int = 3, charged: int = 3, root: Secret = ROOT) -> NodeVault:
    return NodeVault(root, store, run, Allowance(planned, charged))


def drawn(own: NodeVault, round_index: int, given: bytes, client_id: int = 0) -> list[float]:
    own.open_round(round_index, client_id, lambda: given)
    return own.releasing(client_id).normals((2,), "noise", round_index, 0).tolist()


def test_a_round_that_is_repeated_is_drawn_again_and_counts_once() -> None:
    store = MemoryNotes()
    first = drawn(vault(store), 0, b"model")
    for _ in range(5):
        assert drawn(vault(store, planned=1, charged=1), 0, b"model") == first
    assert len(store.read()) == 1


def test_whatever_differs_draws_anew() -> None:
    store = MemoryNotes()
    found = [
        drawn(vault(store), 0, b"model"),
        drawn(vault(store), 0, b"another model"),
        drawn(vault(store), 1, b"model"),
        drawn(vault(store), 0, b"model", client_id=1),
        drawn(vault(store, run="b2"), 0, b"model"),
        drawn(vault(MemoryNotes(), root=Secret.fresh()), 0, b"model"),
    ]
    assert len(set(np.ravel(found))) == 12


def test_what_is_drawn_once_does_not_depend_on_the_round() -> None:
    store, own = MemoryNotes(), []
    for round_index in (0, 1):
        each = vault(store)
        each.open_round(round_index, 0, lambda: b"model")
        own.append(each.secret.of(0).uniforms(3, "labels", 5).tolist())
    assert own[0] == own[1]
    assert vault(store, run="b2").secret.digest() != vault(store).secret.digest()


@pytest.mark.parametrize(
    ("allowed", "expected"), [("planned", "at most 2 private releases"), ("charged", "has charged")]
)
def test_a_further_release_than_allowed_is_held_back(allowed: str, expected: str) -> None:
    store = MemoryNotes()
    drawn(vault(store), 0, b"model")
    drawn(vault(store), 0, b"another model")
    before = store.read()
    with pytest.raises(WithheldError, match=f"client 0 in round 2: expected .*{expected}") as refused:
        drawn(vault(store, **{allowed: 2}), 1, b"model")
    assert "\n" not in str(refused.value)
    assert store.read() == before, "what is held back is not counted"
    drawn(vault(store, **{allowed: 2}), 0, b"model")
    drawn(vault(store, **{allowed: 2}), 1, b"model", client_id=1)
    drawn(vault(store, run="b2", **{allowed: 2}), 1, b"model")


def test_the_same_round_with_another_answer_is_held_back() -> None:
    """Data that have changed, or a device that computes otherwise: the same noise would show the difference."""
    store, own = MemoryNotes(), []
    for _ in range(3):
        own.append(vault(store))
        own[-1].open_round(0, 0, lambda: b"model")
    own[0].close_round(0, 0, b"sent")
    own[1].close_round(0, 0, b"sent")
    with pytest.raises(WithheldError, match="expected the same answer in round 1 as before"):
        own[2].close_round(0, 0, b"other")
    further = vault(store)
    further.open_round(0, 0, lambda: b"another model")
    further.close_round(0, 0, b"other")


def test_without_releases_nothing_is_noted() -> None:
    store = MemoryNotes()
    vault(store).close_round(0, 0, b"sent")
    assert store.read() == []
