"""The digest by which two sides see that they hold the same bits."""

import pytest
import torch

from heron.wire.digests import digest_of
from tests.reference.digests import digest

TENSORS = {"b": torch.tensor([[1.0, -2.5], [0.1, 3e-39]]), "a": torch.tensor(7.0), "none": torch.zeros(0)}


def test_equals_the_digest_written_out() -> None:
    expected = digest([TENSORS["b"].reshape(-1).tolist(), [7.0], []])
    assert digest_of(TENSORS) == expected
    assert 0 < expected < 2**63
    assert digest_of({"x": TENSORS["b"].T.contiguous().T, "y": TENSORS["a"]}) == expected, "values count, not strides"


def test_every_bit_counts() -> None:
    seen = {digest_of(TENSORS)}
    for index in range(16 * 8):
        changed = TENSORS["b"].clone()
        changed.view(-1).view(torch.uint8)[index // 8] ^= 1 << index % 8
        seen.add(digest_of(TENSORS | {"b": changed}))
    assert len(seen) == 1 + 16 * 8


def test_order_counts() -> None:
    one = {"a": torch.tensor([1.0]), "b": torch.tensor([2.0])}
    assert digest_of(one) != digest_of(dict(reversed(one.items())))
    assert digest_of({"a": torch.tensor([0.0])}) != digest_of({"a": torch.tensor([-0.0])})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floating_types(dtype: torch.dtype) -> None:
    assert digest_of({"a": torch.ones(3, dtype=dtype)}) != digest_of({"a": torch.ones(3)})


def test_no_parameters_have_a_digest_that_is_not_zero() -> None:
    assert digest_of({}) == digest([]) > 0
