"""The channel of one process: every message is counted, on request encoded, and recorded for simulated time."""

from collections.abc import Callable, Iterator, Sequence

from heron.costs.trace import RoundTrace
from heron.wire import (
    Answer,
    Broadcast,
    Channel,
    Conversation,
    FromClient,
    Ledger,
    Listener,
    Message,
    ModelBroadcast,
    Upload,
)
from heron.wire.groups import Settings
from heron.wire.mask_messages import KeyRequest, MaskAnswer, MaskRequest, PublicKey, Unmasked, Unmasking


class TracedChannel:
    """Channel between servers and clients, in both directions.

    Args:
        ledger: where bytes are counted.
        settings: `wire` and `link.bundle`.
        trace: record of messages for simulated time; None without it.
        listeners: called with every message that is handed over.
    """

    def __init__(
        self, ledger: Ledger, settings: Settings, trace: RoundTrace | None, listeners: Sequence[Listener]
    ) -> None:
        watch = None if trace is None else trace.message
        self._trace = trace
        self._phase: type[Message] | None = None
        self._channel = Channel(
            ledger, wire=settings.wire, bundle=settings.link.bundle, watch=watch, listeners=listeners
        )

    def opening(self, broadcast: Broadcast) -> Broadcast:
        """Carry the message that opens a client's round."""
        self._begin(ModelBroadcast, broadcast.client_id)
        received = self._channel.pass_through(broadcast, "downlink")
        assert isinstance(received, Broadcast)  # the channel keeps a message's type
        return received

    def up(self, message: FromClient) -> FromClient:
        """Carry a client's message."""
        return self._noted(self._channel.pass_through(message, "uplink"))

    def down(self, message: Answer) -> Answer:
        """Carry the answer to an upload."""
        received = self._channel.pass_through(message, "downlink")
        assert isinstance(received, Answer)  # the channel keeps a message's type
        return received

    def collect(self, client: Conversation) -> Iterator[FromClient]:
        """Carry all that a client sends in its round as one message."""
        return map(self._noted, self._channel.collect(client))

    def ask(
        self, requests: Sequence[MaskRequest], answer: Callable[[MaskRequest], MaskAnswer]
    ) -> dict[int, MaskAnswer]:
        """Carry questions about masks, and the answers to them.

        Args:
            requests: at most one to each client.
            answer: answers as the client does.

        Returns:
            The answers by client.
        """
        return {request.client_id: self._answered(request, answer) for request in requests}

    def _answered(self, request: MaskRequest, answer: Callable[[MaskRequest], MaskAnswer]) -> MaskAnswer:
        self._begin(type(request), request.client_id)
        asked = self._channel.pass_through(request, "downlink")
        assert isinstance(asked, KeyRequest | Unmasking)  # the channel keeps a message's type
        received = self._channel.pass_through(answer(asked), "uplink")
        assert isinstance(received, PublicKey | Unmasked)  # likewise
        return received

    def _begin(self, phase: type[Message], client_id: int) -> None:
        """Note that a client is addressed; servers ask about masks when all clients are done with what was before."""
        if self._trace is None:
            return
        if self._phase is not phase:
            self._trace.begin_phase()
            self._phase = phase
        self._trace.begin_client(client_id)

    def _noted(self, received: Message) -> FromClient:
        assert isinstance(received, FromClient)  # the channel keeps a message's type
        if self._trace is not None and isinstance(received, Upload):
            self._trace.served(len(received.labels))
        return received
