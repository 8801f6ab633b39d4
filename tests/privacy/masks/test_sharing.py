"""Shares of a secret: enough determine it, one fewer fits every secret."""

import random
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from heron.privacy.masks.sharing import PRIME, from_bytes, recovered, shares_of, to_bytes


@given(least=st.integers(1, 6), more=st.integers(0, 4), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_enough_shares_give_the_secret(least, more, seed) -> None:
    draw = random.Random(seed)
    coefficients = [draw.randrange(PRIME) for _ in range(least)]
    shares = dict(enumerate(shares_of(coefficients, least + more), 1))
    for chosen in combinations(shares, least):
        assert recovered({position: shares[position] for position in chosen}) == coefficients[0]


def test_one_share_less_fits_every_secret() -> None:
    """For any other secret there is a polynomial through the same shares, and it is unique."""
    coefficients = [5, 17, PRIME - 3]
    shares = shares_of(coefficients, 4)
    two = {2: shares[1], 4: shares[3]}
    third = {recovered({**two, 1: guess}) for guess in range(50)}
    assert len(third) == 50


def test_numbers_are_written_in_32_bytes() -> None:
    for number in (0, 1, PRIME - 1):
        assert from_bytes(to_bytes(number)) == number
        assert len(to_bytes(number)) == 32
    assert from_bytes(b"\xff" * 32) == 2**256 - 1 - 2 * PRIME
