"""Seeds: frozen values, no two names or counters alike, nothing but integers that fit."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heron.seeds import derive_seed


def literal(domain: bytes, *fields: int) -> int:
    """The specification, written out: length of the domain, domain, fields as little-endian signed 64-bit integers."""
    key = bytes([len(domain)]) + domain
    for value in fields:
        key += value.to_bytes(8, "little", signed=True)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, person=b"heron/seeds/v1").digest(), "little")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6))
def test_equals_the_specification(fields: list[int]) -> None:
    assert derive_seed("direction", *fields) == literal(b"direction", *fields)


def test_frozen_values() -> None:
    """BLAKE2b of these bytes, for every version to come: recorded runs must stay replayable."""
    assert derive_seed("direction", 0, 0, 0) == 0x501624A871A32E70
    assert derive_seed("direction", 17, 3, 1) == 0x3AB3C9A3510AB174
    assert derive_seed("init") == 0x84FD64A1F9AC9805


def test_injective_on_a_grid() -> None:
    grid = list(itertools.product(range(-2, 6), range(6), range(5), range(4)))
    assert len({derive_seed("direction", *fields) for fields in grid}) == len(grid)


def test_order_and_number_of_fields_matter() -> None:
    cases = [(), (0,), (0, 0), (1,), (1, 0), (0, 1), (256,), (1, 256), (256, 1)]
    assert len({derive_seed("direction", *fields) for fields in cases}) == len(cases)


def test_domains_are_separate() -> None:
    domains = ["direction", "batches", "init", "i", "initinit", "x" * 32]
    seeds = {derive_seed(domain, *fields) for domain in domains for fields in [(), (0,), (1, 2)]}
    assert len(seeds) == 3 * len(domains)


def test_a_domain_cannot_pose_as_a_field() -> None:
    """Without the length in front, the last eight letters of one domain would be the field of another."""
    field = int.from_bytes(b"irection", "little")
    assert derive_seed("direction") != derive_seed("d", field)


def test_values_are_spread_over_64_bits() -> None:
    """Each bit of 4000 seeds is set 2000 times; the bound is five standard deviations of sqrt(4000) / 2 = 31.6."""
    seeds = [derive_seed("direction", n) for n in range(4000)]
    assert all(0 <= seed < 2**64 for seed in seeds)
    for bit in range(64):
        assert abs(sum(seed >> bit & 1 for seed in seeds) - 2000) < 158


@pytest.mark.parametrize(
    ("domain", "fields"),
    [
        ("", ()),
        ("x" * 33, ()),
        ("größe", ()),
        ("direction", (2**63,)),
        ("direction", (-(2**63) - 1,)),
        ("direction", (0.5,)),
    ],
)
def test_refuses_what_it_cannot_hash(domain: str, fields: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the messages differ, one line each
        derive_seed(domain, *fields)
    assert "\n" not in str(caught.value)
