"""Who has masks with whom: both ways, as many for each, the same for everybody."""

import pytest

from heron.privacy.masks.circle import Circle, least_shares


@pytest.mark.parametrize("size", [3, 4, 48, 49, 50, 100])
def test_neighbours_are_mutual_and_as_many_for_each(size: int) -> None:
    circle = Circle([3 * one for one in range(size)], run_seed=5)
    neighbours = {one: circle.neighbours(one) for one in circle.members}
    assert {len(others) for others in neighbours.values()} == {min(size - 1, 48)}
    for one, others in neighbours.items():
        assert one not in others
        assert others == tuple(sorted(set(others)))
        assert all(one in neighbours[other] for other in others)
    assert neighbours == {one: Circle(circle.members, run_seed=5).neighbours(one) for one in circle.members}


def test_seats_depend_on_the_seed() -> None:
    seats = {tuple(Circle(range(60), run_seed=seed).neighbours(0)) for seed in range(5)}
    assert len(seats) == 5


def test_half_of_the_neighbours_have_to_answer() -> None:
    assert [least_shares(k) for k in (2, 3, 4, 5, 9, 48)] == [2, 2, 2, 2, 4, 24]
