"""Fixed point: nearest multiples of 2^-32, and nothing that a sum could overflow with."""

import numpy as np
import pytest

from heron.errors import TrainingError
from heron.privacy.masks.fixed_point import from_fixed, largest_value, to_fixed


def test_values_come_back_to_half_a_step() -> None:
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-13, 7).repeat(50)
    assert np.abs(from_fixed(to_fixed(values, 100)) - values).max() <= 2.0**-33
    assert to_fixed(np.array([2.0**-33, 3 * 2.0**-33, -(2.0**-32)]), 1).tolist() == [0, 2, -1]


def test_sums_of_the_largest_values_keep_their_sign() -> None:
    for num_members in (1, 3, 100):
        largest = largest_value(num_members)
        for sign in (-1, 1):
            total = num_members * int(to_fixed(np.array([sign * largest]), num_members)[0])
            assert abs(total) < 2**63
            assert np.sign(total) == sign


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**29 * 1.01])
def test_values_that_cannot_be_added_up_are_refused(value: float) -> None:
    with pytest.raises(TrainingError, match=r"values of at most 5\.36871e\+08 to be added up under masks, found"):
        to_fixed(np.array([0.0, value]), 2)
