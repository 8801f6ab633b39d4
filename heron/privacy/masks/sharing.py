"""Shares of a secret number, of which some determine it and fewer say nothing (Shamir, CACM 1979)."""

from collections.abc import Mapping, Sequence

PRIME = 2**255 - 19
"""Numbers are those modulo this prime."""
NUM_BYTES = 32
"""Bytes of a number, little-endian."""


def shares_of(coefficients: Sequence[int], num_shares: int) -> list[int]:
    """Evaluate a polynomial at 1, 2, ...; as many shares as it has coefficients determine the first of these.

    Args:
        coefficients: the secret first, then random numbers, each in [0, PRIME).
        num_shares: number of shares.
    """
    shares = []
    for position in range(1, num_shares + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * position + coefficient) % PRIME
        shares.append(value)
    return shares


def recovered(shares: Mapping[int, int]) -> int:
    """Interpolate the polynomial at 0.

    Args:
        shares: by position, as many as there were coefficients; more are of no use.
    """
    secret = 0
    for position, share in shares.items():
        above, below = 1, 1
        for other in shares:
            if other != position:
                above = above * other % PRIME
                below = below * (other - position) % PRIME
        secret += share * above * pow(below, -1, PRIME)
    return secret % PRIME


def to_bytes(number: int) -> bytes:
    """Write a number in [0, PRIME)."""
    return number.to_bytes(NUM_BYTES, "little")


def from_bytes(content: bytes) -> int:
    """Read a number, whatever the bytes are."""
    return int.from_bytes(content, "little") % PRIME
