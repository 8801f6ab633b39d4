"""The links of the Flower engine, by which round protocols reach clients (`heron.wire.Link`).

If a client's uploads leave the Main Server with a loss or parameter that is not finite, the client is refused before
its reply is handed over, and its effect on the server is undone.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from heron.engines.servers import Servers
from heron.errors import MessageError
from heron.flower.checks import RoundCheck
from heron.flower.courier import Courier, Delivery
from heron.flower.expected import Expected
from heron.flower.faults import FaultLog, RefusedError, TooFewError
from heron.flower.mask_exchange import MaskExchange
from heron.flower.records import Parcel, RoundRequest
from heron.flower.requests import Requests
from heron.flower.stream import read_stream
from heron.wire import (
    Broadcast,
    Conversation,
    FromClient,
    Message,
    Reply,
    ScalarBroadcast,
    SnapshotRequest,
    encoded_sizes,
)
from heron.wire.mask_messages import MaskAnswer, MaskRequest


class SpooledLink:
    """Link of decoupled rounds: hands over the clients' messages from files, checked before.

    Args:
        servers: the servers of the round.
        deliveries: reply of each client; one without has none.
        faults: log of clients that are refused.
        masks: asks about masks.
        enough: number of clients that suffice; if fewer succeed, nothing is asked.

    Attributes:
        completed: statements of the clients whose round counts.
    """

    def __init__(
        self,
        servers: Servers,
        deliveries: Mapping[int, Delivery],
        faults: FaultLog,
        masks: MaskExchange,
        enough: int,
    ) -> None:
        self._servers = servers
        self._deliveries = deliveries
        self._faults = faults
        self._masks = masks
        self._enough = enough
        self.completed: dict[int, Parcel] = {}

    def exchange(self, broadcast: Broadcast) -> Conversation:
        """Return the messages of the client that the broadcast names; its round is over already.

        Its request carried this broadcast, or a snapshot that it asked for, so nothing is sent or counted here.
        """
        client_id, main_server = broadcast.client_id, self._servers.main_server
        if client_id not in self._deliveries:
            return
        undo = main_server.save_point()
        path, bundle = self._deliveries[client_id].path, self._servers.settings.link.bundle
        messages = read_stream(path, bundle=bundle)
        while True:
            parcel = [next(messages, None)]
            if parcel[0] is None or isinstance(parcel[0], Reply):
                break
            yield _sent(parcel.pop())
        if not main_server.is_finite():
            undo()
            self._faults.add(client_id, "not_finite", "its uploads make the Main Server's loss NaN or infinite")
            return
        self.completed[client_id] = self._deliveries[client_id].facts
        if parcel[0] is not None:
            yield _sent(parcel.pop())

    def ask(self, requests: Sequence[MaskRequest]) -> dict[int, MaskAnswer]:
        """Ask clients about their masks.

        Raises:
            TooFewError: if the round will be repeated, so that nothing may be revealed.
        """
        if len(self.completed) < self._enough:
            raise TooFewError(f"expected {self._enough} clients, found {len(self.completed)}")
        return self._masks.ask(requests, self._faults)


class StepwiseLink:
    """Link of coupled rounds: a request for every answer, with the next upload or the reply in return.

    Args:
        servers: the servers of the round.
        courier: sends requests to clients.
        requests: makes the requests.
        expected: form of an upload.
        faults: log of clients that are refused.
        retries: number of times that a client may begin its round again.

    Attributes:
        completed: statements of the clients whose round counts.
    """

    def __init__(
        self, servers: Servers, courier: Courier, requests: Requests, expected: Expected, faults: FaultLog, retries: int
    ) -> None:
        self._servers = servers
        self._courier = courier
        self._requests = requests
        self._expected = expected
        self._faults = faults
        self._retries = retries
        self.completed: dict[int, Parcel] = {}

    def exchange(self, broadcast: Broadcast) -> Conversation:
        """Run a client's round; if the client is refused, it ends without a reply and leaves no trace.

        A client that begins again holds nothing, so it is sent a snapshot.
        """
        undo = self._servers.main_server.save_point()
        for attempt in range(self._retries + 1):
            try:
                yield from self._conversation(broadcast)
            except RefusedError as refused:
                undo()
                self._faults.add(broadcast.client_id, refused.fault, str(refused))
                if refused.fault == "lost" and attempt < self._retries:
                    broadcast = self._servers.fed_server.snapshot(broadcast.round_index, broadcast.client_id)
                    continue
            return

    def ask(self, requests: Sequence[MaskRequest]) -> dict[int, MaskAnswer]:
        """Ask nothing: no algorithm of coupled rounds has sums."""
        raise AssertionError(requests)

    def _conversation(self, broadcast: Broadcast) -> Conversation:
        client_id, main_server = broadcast.client_id, self._servers.main_server
        may_ask = isinstance(broadcast, ScalarBroadcast)
        check = RoundCheck(self._servers, self._expected, broadcast.round_index, client_id, may_ask=may_ask)
        request = self._requests.carrying(broadcast, step=0)
        lost_state = False
        while True:
            delivery = self._deliver(request)
            lost_state |= delivery.facts.lost_state
            parcel = [self._only_message(delivery, check)]
            if delivery.facts.finished:
                break
            answer = yield _sent(parcel.pop())
            assert answer is not None  # a coupled round answers every upload
            request = self._requests.carrying(answer, request.step + 1)
        check.end(delivery.facts)
        if check.asks:
            yield _sent(parcel.pop())
            return
        if not main_server.is_finite():
            raise RefusedError("not_finite", "its uploads make the Main Server's loss NaN or infinite")
        if lost_state:
            self._faults.add(client_id, "lost_state")
        self.completed[client_id] = delivery.facts
        if parcel[0] is not None:
            yield _sent(parcel.pop())

    def _deliver(self, request: RoundRequest) -> Delivery:
        """Send a request and return the client's reply; its secret is noted before anything else of it is looked at."""
        self._courier.send(request)
        (_, delivery), *more = self._courier.collect()
        for client_id, duplicate in more:
            assert isinstance(duplicate, RefusedError)  # a request is settled once
            self._faults.add(client_id, duplicate.fault, str(duplicate))
        if isinstance(delivery, RefusedError):
            raise delivery
        self._requests.notes.saw(request.client_id, delivery.facts.secret)
        return delivery

    def _only_message(self, delivery: Delivery, check: RoundCheck) -> FromClient | None:
        """The only message of a delivery: an upload, a reply or a request; None if the client drops out."""
        messages, finished = list(read_checked(delivery.path, check, bundle=False)), delivery.facts.finished
        least = 0 if finished else 1
        ends = [isinstance(message, Reply | SnapshotRequest) for message in messages]
        if not least <= len(messages) <= 1 or any(end != finished for end in ends):
            raise RefusedError("malformed", "expected one upload, or a reply at the end, found other messages")
        for message in messages:
            self._servers.ledger.record("uplink", encoded_sizes(message))
        return messages[0] if messages else None


def read_checked(path: Path, check: RoundCheck, *, bundle: bool) -> Iterator[FromClient]:
    """Yield the messages of a file, each checked.

    Raises:
        RefusedError: if a message cannot be used.
    """
    try:
        for message in read_stream(path, bundle=bundle):
            check.take(message)
            yield _sent(message)
    except RefusedError:
        raise
    except MessageError as error:
        raise RefusedError("undecodable", str(error)) from error


def _sent(message: Message | None) -> FromClient:
    assert isinstance(message, FromClient)  # checked on arrival
    return message
