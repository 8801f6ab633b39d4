"""The coupled round: every local step waits for what the Main Server answers its uploads with.

SplitFed (Thapa et al., AAAI 2022) and HO-SFL wait for the gradient at the cut, HOSL for losses.
"""

from heron.algorithms.fed_server import FedServer
from heron.algorithms.main_server import MainServer
from heron.comms import Answer, Link, Reply, Upload


def coupled_round(
    link: Link, fed_server: FedServer, main_server: MainServer, round_index: int, participants: list[int]
) -> None:
    """One round, in canonical order: client after client; each upload is answered before the next.

    Args:
        link: reaches the clients.
        fed_server: averages what clients train.
        main_server: trains theta_s and answers.
        round_index: t, from 0.
        participants: the clients S_t, ascending.
    """
    for client_id in participants:
        main_server.begin_client()
        conversation = link.exchange(fed_server.broadcast(round_index, client_id))
        message: Upload | Reply | None = next(conversation, None)
        while message is not None:
            answer: Answer | None = None
            if isinstance(message, Reply):
                fed_server.accept(message)
                main_server.end_client(fed_server.weight(message))
            else:
                answer = main_server.answer(message)
            message = None  # the client learns while we wait for the next one
            try:
                message = conversation.send(answer)
            except StopIteration:
                break
    main_server.end_round(round_index, fed_server)
