"""The clients of a sum, and who has masks with whom: neighbours on a circle (Bell et al., CCS 2020).

Each client has as many neighbours on either side, so that the work of a client does not grow with their number.
"""

from collections.abc import Sequence

from heron.seeds import derive_seed

LEAST_MEMBERS = 3
"""With fewer, the sum and one's own part tell another one's."""
_MOST_NEIGHBOURS = 48  # of 100 clients, 30 of which drop out, enough remain for each: one round in a thousand fails


def least_shares(num_neighbours: int) -> int:
    """Return the number of neighbours that have to answer for a client; as many could uncover it if they helped.

    Args:
        num_neighbours: k of the client.
    """
    return max(2, num_neighbours // 2)


class Circle:
    """The clients of one sum of a round.

    Args:
        members: their numbers.
        run_seed: seed of the run, which decides who sits next to whom.

    Attributes:
        members: ascending.
    """

    def __init__(self, members: Sequence[int], run_seed: int) -> None:
        self.members = tuple(sorted(members))
        seats = sorted(self.members, key=lambda client_id: derive_seed("mask seat", run_seed, client_id))
        reach = min(len(seats) - 1, _MOST_NEIGHBOURS)
        if reach == len(seats) - 1:
            self._neighbours = {one: tuple(other for other in self.members if other != one) for one in seats}
            return
        steps = [step for step in range(-(reach // 2), reach // 2 + 1) if step]
        self._neighbours = {
            client_id: tuple(sorted(seats[(seat + step) % len(seats)] for step in steps))
            for seat, client_id in enumerate(seats)
        }

    def neighbours(self, client_id: int) -> tuple[int, ...]:
        """Return those that a client has masks with, ascending."""
        return self._neighbours[client_id]
