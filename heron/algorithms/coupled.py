"""The coupled round: every local step waits for what the Main Server answers its uploads with.

SplitFed (Thapa et al., AAAI 2022) and HO-SFL wait for the gradient at the cut, HOSL for losses.
"""

from typing import TYPE_CHECKING

from heron.server.conversation import converse
from heron.wire import Answer, Link, Reply, Upload

if TYPE_CHECKING:
    from heron.server.fed_server import FedServer
    from heron.server.main_server import MainServer


def coupled_round(
    link: Link, fed_server: "FedServer", main_server: "MainServer", round_index: int, participants: list[int]
) -> None:
    """One round, in canonical order: client after client; each upload is answered before the next.

    Args:
        link: reaches the clients.
        fed_server: averages what clients train.
        main_server: trains theta_s and answers.
        round_index: t, from 0.
        participants: the clients S_t, ascending.
    """

    def handle(message: Upload | Reply) -> Answer | None:
        if not isinstance(message, Reply):
            return main_server.answer(message)
        fed_server.accept(message)
        main_server.end_client(fed_server.weight(message))
        return None

    for client_id in participants:
        main_server.begin_client()
        converse(link, fed_server, round_index, client_id, handle)
    main_server.end_round(round_index, fed_server)
