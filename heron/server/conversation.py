"""One client's round as both round protocols see it: its messages one by one, and a broadcast that it can use."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from heron.errors import MessageError
from heron.wire import Answer, Broadcast, FromClient, Link, Reply, SnapshotRequest, Upload

if TYPE_CHECKING:  # algorithms are known to devices, where what a server does is not imported
    from heron.server.fed_server import FedServer


def converse(
    link: Link,
    fed_server: "FedServer",
    round_index: int,
    client_id: int,
    handle: Callable[[Upload | Reply], Answer | None],
) -> None:
    """Broadcast to a client and handle what it sends, in order; once more with a snapshot if it asks for one.

    Args:
        link: reaches the client.
        fed_server: makes the broadcast.
        round_index: t, from 0.
        client_id: whom to talk to.
        handle: takes an upload or the reply and gives what is sent back; no message is held here while the client
            learns.

    Raises:
        MessageError: if a client that was sent a snapshot asks for one, or has uploaded before it asks, or a message is
            of another round or client.
    """
    if _all_handled(link, fed_server.broadcast(round_index, client_id), handle):
        return
    if not _all_handled(link, fed_server.snapshot(round_index, client_id), handle):
        raise MessageError(f"client {client_id} in round {round_index + 1}: asks for the snapshot that it was sent")


def _check_sender(message: FromClient, broadcast: Broadcast) -> None:
    if (message.client_id, message.round_index) != (broadcast.client_id, broadcast.round_index):
        raise MessageError(f"{_place(broadcast)}: expected its messages, found {_place(message)}")


def _place(message: FromClient | Broadcast) -> str:
    return f"client {message.client_id} in round {message.round_index + 1}"


def _all_handled(link: Link, broadcast: Broadcast, handle: Callable[[Upload | Reply], Answer | None]) -> bool:
    conversation = link.exchange(broadcast)
    message: FromClient | None = next(conversation, None)
    if isinstance(message, SnapshotRequest):
        _check_sender(message, broadcast)
        next(conversation, None)  # the client puts back what it keeps
        return False
    while message is not None:
        _check_sender(message, broadcast)
        if isinstance(message, SnapshotRequest):
            raise MessageError(f"{_place(broadcast)}: asks for a snapshot in the middle of its round")
        answer = handle(message)
        message = None  # the client learns while we wait for the next one
        try:
            message = conversation.send(answer)
        except StopIteration:
            return True
    return True
