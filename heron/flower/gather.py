"""Deliveries of a decoupled round: requests to all its clients, and their replies, checked from end to end."""

from heron.engines.servers import Servers
from heron.flower.checks import RoundCheck
from heron.flower.courier import Courier, Delivery
from heron.flower.expected import Expected
from heron.flower.faults import FaultLog, RefusedError
from heron.flower.link import read_checked
from heron.flower.log import say
from heron.flower.requests import Requests
from heron.flower.stream import counted
from heron.wire import Broadcast, ScalarBroadcast, encoded_sizes


class Gatherer:
    """Gatherer of the clients' rounds; a round is accepted if all its messages can be used.

    Args:
        servers: the servers of the round.
        courier: sends requests to clients.
        requests: makes the requests.
        expected: form of an upload.
        retries: number of times that a client may begin its round again.
    """

    def __init__(
        self, servers: Servers, courier: Courier, requests: Requests, expected: Expected, *, retries: int
    ) -> None:
        self._servers = servers
        self._courier = courier
        self._requests = requests
        self._expected = expected
        self._retries = retries
        # Clients that were sent scalars and may ask for a snapshot.
        self._may_ask: set[int] = set()

    def gather(self, clients: list[int], deliveries: dict[int, Delivery], faults: FaultLog) -> None:
        """Run the rounds of some clients.

        Args:
            clients: the clients.
            deliveries: their replies are added here.
            faults: log of clients at fault.
        """
        restarts = dict.fromkeys(clients, 0)
        for client_id in clients:
            self._open(self._servers.fed_server.broadcast(self._servers.next_round, client_id), faults)
        for client_id, delivery in self._courier.collect():
            try:
                if isinstance(delivery, RefusedError):
                    raise delivery
                self._requests.notes.saw(client_id, delivery.facts.secret)
                asks = self._take(client_id, delivery)
            except RefusedError as refused:
                faults.add(client_id, refused.fault, str(refused))
                if refused.fault == "lost" and restarts[client_id] < self._retries:
                    restarts[client_id] += 1
                    self._open_anew(client_id, faults)
                if refused.fault == "lost_state" and self._requests.without_state(client_id):
                    self._open_anew(client_id, faults)  # and charge what it has yet to release
                continue
            if asks:
                say("snapshot asked for", round=self._servers.next_round + 1, client=client_id)
                self._open_anew(client_id, faults)
                continue
            deliveries[client_id] = delivery
            if delivery.facts.lost_state:
                faults.add(client_id, "lost_state")

    def _open(self, broadcast: Broadcast, faults: FaultLog) -> None:
        client_id = broadcast.client_id
        self._may_ask.discard(client_id)
        if isinstance(broadcast, ScalarBroadcast):
            self._may_ask.add(client_id)
        try:
            self._courier.send(self._requests.opening(broadcast, repeats=self._courier.keeps_secret(client_id)))
        except RefusedError as refused:  # its budget is spent
            faults.add(client_id, refused.fault, str(refused))

    def _open_anew(self, client_id: int, faults: FaultLog) -> None:
        """Open a client's round again with a snapshot, which contains everything that the client needs."""
        self._open(self._servers.fed_server.snapshot(self._servers.next_round, client_id), faults)

    def _take(self, client_id: int, delivery: Delivery) -> bool:
        """Check a client's whole round, then count its bytes; returns whether it asks for a snapshot instead.

        Raises:
            RefusedError: if the round cannot be used.
        """
        may_ask = client_id in self._may_ask
        check = RoundCheck(self._servers, self._expected, self._servers.next_round, client_id, may_ask=may_ask)
        bundle = self._servers.settings.link.bundle
        sizes = [encoded_sizes(message) for message in read_checked(delivery.path, check, bundle=bundle)]
        check.end(delivery.facts)
        for each in counted(sizes, delivery.facts.num_bytes, bundle=bundle):
            self._servers.ledger.record("uplink", each)
        return check.asks
