"""Limits of values against the definition, value by value."""

import math

import pytest
import torch

from heron.errors import TrainingError
from heron.server.finite import LARGEST, is_finite, is_within, require_finite

ODD = [math.nan, math.inf, -math.inf]
FLOATS = [torch.float32, torch.float64, torch.bfloat16]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("size", [1, 7, 64, 1001])
def test_one_odd_value_is_found_wherever_it_is(dtype: torch.dtype, odd: float, size: int) -> None:
    for position in {0, size // 2, size - 1}:
        tensor = torch.randn(size, generator=torch.Generator().manual_seed(size)).to(dtype)
        assert is_finite(tensor)
        assert is_within(tensor, LARGEST)
        tensor[position] = odd
        assert not is_finite(tensor)
        assert not is_within(tensor, LARGEST)
        with pytest.raises(TrainingError, match="'there'"):
            require_finite({"fine": torch.ones(1), "there": tensor})


def test_the_bound_is_within_and_what_is_beyond_is_not() -> None:
    bound = torch.tensor([1.0, -2.0])
    assert is_within(bound, 2.0)
    assert not is_within(bound, 1.999)


def test_counters_and_nothing_at_all_are_within() -> None:
    assert is_within(torch.tensor([2**62]), 1.0)
    assert is_finite(torch.tensor(2**62))
    assert is_within(torch.empty(0, 3), 1.0)
    assert is_finite(torch.empty(0))
