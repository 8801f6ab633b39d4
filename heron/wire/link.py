"""The servers' link to clients, and the channel that a message passes."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from heron.wire.bundle import Bundle, decode_bundle
from heron.wire.codec import decode, encode, encoded_sizes
from heron.wire.ledger import Direction, Ledger
from heron.wire.mask_messages import MaskAnswer, MaskRequest
from heron.wire.messages import Answer, Broadcast, FromClient, Message, Reply, SnapshotRequest

Conversation = Generator[FromClient, Answer | None, None]
"""What a client sends in its round; in a coupled round each upload is answered by `send`ing its answer."""


Listener = Callable[[Message, Direction], None]
"""Called with a message as its receiver gets it, before it is handed over; must not keep smashed data of a real run."""


class Link(Protocol):
    """Reaches clients; engines implement it, round protocols use it."""

    def exchange(self, broadcast: Broadcast) -> Conversation:
        """Open a client's round and receive what it sends.

        Yields the client's uploads in order as they arrive, its reply last; a client that drops out ends the
        conversation without one, and one that cannot use the broadcast with nothing but a `SnapshotRequest`. The
        consumer drops each message before it asks for the next, so that one z is alive at a time. Every message is
        counted once, encoded.

        Args:
            broadcast: the message to the client it names.

        Returns:
            A generator of the client's messages; it is sent the answer to each upload.
        """
        ...

    def ask(self, requests: Sequence[MaskRequest]) -> dict[int, MaskAnswer]:
        """Ask clients about their masks, all at once and outside their conversations; with `secure_sum` alone.

        Args:
            requests: of one kind and round, each to the client it names, at most one to each.

        Returns:
            The answers by client; one that is lost or refused is not there.

        Raises:
            MessageError: if a client refuses to answer, and the engine cannot go on without it.
        """
        ...


class Channel:
    """Channel of every message: it counts always; it encodes and decodes in wire mode.

    Args:
        ledger: where bytes are counted.
        wire: hand over a decoded copy, as a network would, instead of the message itself. Passing by reference is
            faster and hides bugs; both must compute the same.
        bundle: count, and encode, every message as a bundle of one, and collect what clients send.
        watch: called with direction and encoded bytes of every message, once it is counted.
        listeners: called in turn with every message that is handed over.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        wire: bool,
        bundle: bool = False,
        watch: Callable[[Direction, int], None] | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._ledger = ledger
        self._wire = wire
        self._bundle = bundle
        self._watch = watch
        self._listeners = listeners

    def pass_through(self, message: Message, direction: Direction) -> Message:
        """Count a message and hand it over.

        Args:
            message: the message.
            direction: `uplink` or `downlink`.

        Returns:
            The message as its receiver gets it.
        """
        if self._bundle:
            bundle = Bundle()
            bundle.add(message)
            data, sizes = bundle.close()
            self._count(direction, sizes)
            return self._heard(direction, next(decode_bundle(data)) if self._wire else message)
        self._count(direction, encoded_sizes(message))
        return self._heard(direction, decode(encode(message)) if self._wire else message)

    def collect(self, client: Conversation) -> Iterator[Message]:
        """Messages of a client in its round, kept encoded on its side until the reply and counted as one.

        A client that drops out before its reply has sent nothing.

        Args:
            client: a client in a decoupled round; nothing is answered.
        """
        bundle, is_complete = Bundle(), False
        message = next(client, None)
        while message is not None:
            bundle.add(message)
            is_complete = isinstance(message, Reply | SnapshotRequest)
            message = None  # the client learns while we wait for the next one
            message = next(client, None)
        if is_complete:
            data, sizes = bundle.close()
            self._count("uplink", sizes)
            yield from map(partial(self._heard, "uplink"), decode_bundle(data))

    def _heard(self, direction: Direction, message: Message) -> Message:
        for listener in self._listeners:
            listener(message, direction)
        return message

    def _count(self, direction: Direction, sizes: Mapping[str, int]) -> None:
        self._ledger.record(direction, sizes)
        if self._watch is not None:
            self._watch(direction, sum(sizes.values()))
