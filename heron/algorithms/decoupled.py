"""The decoupled round: one exchange per client and round, no gradient comes back.

HERON-SFL (Kou et al., arXiv 2601.09076), CSE-FSL, FSL-SAGE, FedAvg and the frozen control are this protocol with
different client steps. Step numbers are those of HERON-SFL's round t.
"""

from typing import TYPE_CHECKING

from heron.server.conversation import converse
from heron.wire import Link, Reply, Upload

if TYPE_CHECKING:
    from heron.server.fed_server import FedServer
    from heron.server.main_server import MainServer


def decoupled_round(
    link: Link, fed_server: "FedServer", main_server: "MainServer", round_index: int, participants: list[int]
) -> None:
    """One round, in canonical order: client after client, uploads in step order.

    Args:
        link: reaches the clients.
        fed_server: averages what clients train.
        main_server: trains theta_s.
        round_index: t, from 0.
        participants: the clients S_t, ascending.
    """

    def handle(message: Upload | Reply) -> None:
        if isinstance(message, Reply):
            fed_server.accept(message)  # step 4
        else:
            main_server.receive(message)  # step 3

    for client_id in participants:
        converse(link, fed_server, round_index, client_id, handle)  # steps 1 and 2
    main_server.end_round(round_index, fed_server)
