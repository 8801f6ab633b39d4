"""The coupled round: every local step waits for the gradient at the cut (SplitFed: Thapa et al., AAAI 2022)."""

from heron.algorithms.fed_server import FedServer
from heron.algorithms.main_server import MainServer
from heron.comms import ClientReply, CutGradient, Link, SmashedData


def coupled_round(
    link: Link, fed_server: FedServer, main_server: MainServer, round_index: int, participants: list[int]
) -> None:
    """One round, in canonical order: client after client; each upload is answered by its cut gradient.

    Args:
        link: reaches the clients.
        fed_server: averages theta_c.
        main_server: trains theta_s and computes the cut gradients.
        round_index: t, from 0.
        participants: the clients S_t, ascending.
    """
    for client_id in participants:
        main_server.begin_client()
        conversation = link.exchange(fed_server.broadcast(round_index, client_id))
        message: SmashedData | ClientReply | None = next(conversation, None)
        while message is not None:
            answer: CutGradient | None = None
            if isinstance(message, SmashedData):
                answer = main_server.train_and_answer(message)
            else:
                fed_server.accept(message)
                main_server.end_client(fed_server.weight(message))
            message = None  # the client learns while we wait for the next one
            try:
                message = conversation.send(answer)
            except StopIteration:
                break
    main_server.end_round(round_index, fed_server)
