"""How servers reach clients, and what a message passes on the way."""

from collections.abc import Callable, Generator
from typing import Protocol

from heron.comms.codec import decode, encode, encoded_sizes
from heron.comms.ledger import Direction, Ledger
from heron.comms.messages import Answer, Message, ModelBroadcast, Reply, Upload

Conversation = Generator[Upload | Reply, Answer | None, None]
"""What a client sends in its round; in a coupled round each upload is answered by `send`ing its answer."""


class Link(Protocol):
    """Reaches clients; engines implement it, round protocols use it."""

    def exchange(self, broadcast: ModelBroadcast) -> Conversation:
        """Open a client's round and receive what it sends.

        Yields the client's uploads in order as they arrive, its reply last; a client that drops out ends the
        conversation without one. The consumer drops each message before it asks for the next, so that one z is alive
        at a time. Every message is counted once, encoded.

        Args:
            broadcast: the message to the client it names.
        """
        ...


class Channel:
    """What every message passes: counted always; encoded and decoded in wire mode.

    Args:
        ledger: where bytes are counted.
        wire: hand over a decoded copy, as a network would, instead of the message itself. Passing by reference is
            faster and hides bugs; both must compute the same.
        watch: called with direction and encoded bytes of every message, once it is counted.
    """

    def __init__(
        self, ledger: Ledger, *, wire: bool, watch: Callable[[Direction, int], None] = lambda *_: None
    ) -> None:
        self._ledger = ledger
        self._wire = wire
        self._watch = watch

    def pass_through(self, message: Message, direction: Direction) -> Message:
        """Count a message and hand it over."""
        sizes = encoded_sizes(message)
        self._ledger.record(direction, sizes)
        self._watch(direction, sum(sizes.values()))
        return decode(encode(message)) if self._wire else message
