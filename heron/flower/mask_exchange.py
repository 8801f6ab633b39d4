"""The servers' part of sums under masks on Flower: who takes part in those of a round, and questions outside rounds.

Whoever is there when a round begins has a seat in its sums, and nobody else: a client that comes later would need
masks with clients that have covered their values already. So the seats of a round stay, however often it is tried.
"""

from collections.abc import Sequence

from heron.arrays import to_host
from heron.engines.servers import Servers
from heron.errors import MessageError
from heron.flower.courier import Courier, Delivery
from heron.flower.faults import FaultLog, RefusedError
from heron.flower.records import MaskQuestion
from heron.flower.run_notes import RunNotes
from heron.flower.stream import counted, read_single, write_single
from heron.privacy.masks.keys import NUM_BYTES
from heron.server.mask_seats import read_key
from heron.server.masked_server import MaskedFedServer
from heron.wire import encoded_sizes
from heron.wire.mask_messages import KeyRequest, MaskAnswer, MaskRequest, PublicKey, Unmasked, Unmasking
from heron.wire.masked_sums import rows_of

_FRAMING = 4096
"""Bytes of an answer, beside its values, that are more than enough."""


class MaskExchange:
    """Seats of the current round, and questions to the clients, all at once and with a round's deadline.

    Args:
        servers: the servers of the run; without `secure_sum` there are no seats.
        courier: sends questions to clients.
        max_reply_bytes: largest piece of an answer.
        notes: name of the run.
    """

    def __init__(self, servers: Servers, courier: Courier, max_reply_bytes: int, notes: RunNotes) -> None:
        self._notes = notes
        self._servers = servers
        self._courier = courier
        self._max_reply_bytes = max_reply_bytes
        fed_server = servers.fed_server
        self._fed_server = fed_server if isinstance(fed_server, MaskedFedServer) else None
        self._seated: tuple[int, list[int]] = (-1, [])

    @property
    def no_update(self) -> str:
        """Reason for the end of the latest round without an update; empty if it has one."""
        return "" if self._fed_server is None else self._fed_server.no_update

    def seated(self) -> list[int]:
        """Return the clients that have a seat in the current round, ascending; none before it has begun."""
        round_index, clients = self._seated
        return clients if round_index == self._servers.next_round else []

    def seat(self, present: list[int], enough: int, faults: FaultLog) -> list[int]:
        """Give seats to clients, unless those of this round have been given.

        Args:
            present: the clients that can be reached.
            enough: number of clients that suffice.
            faults: log of clients at fault.

        Returns:
            Those whose rounds can be opened now; none if there are too few.
        """
        round_index = self._servers.next_round
        if self._fed_server is None or self.seated():
            return present
        seats = self._fed_server.seats
        known = seats.acquaint(lambda requests: self.ask(requests, faults), round_index, present)
        members = seats.seatable(known)
        for client_id in sorted(set(known) - set(members)):
            faults.add(client_id, "alone", "fewer than 3 clients of its seed group are there")
        if len(members) < enough:
            return []
        seats.seat(members)
        self._seated = (round_index, members)
        return members

    def ask(self, requests: Sequence[MaskRequest], faults: FaultLog) -> dict[int, MaskAnswer]:
        """Ask clients, and wait for their answers until all have come or a round's time is up.

        Args:
            requests: at most one to each client.
            faults: log of clients at fault.

        Returns:
            What can be used, by client.
        """
        bundle, ledger = self._servers.settings.link.bundle, self._servers.ledger
        asked = {request.client_id: request for request in requests}
        for client_id, request in asked.items():
            content, sizes = write_single(request, bundle=bundle)
            ledger.record("downlink", sizes)
            place = (request.round_index, client_id)
            self._courier.send(MaskQuestion(*place, self._max_reply_bytes, self._notes.run, bundle, content))
        answers: dict[int, MaskAnswer] = {}
        for client_id, delivery in self._courier.collect():
            try:
                answers[client_id] = self._taken(asked[client_id], delivery)
            except RefusedError as refused:
                faults.add(client_id, refused.fault, str(refused))
        return answers

    def _taken(self, request: MaskRequest, delivery: Delivery | RefusedError) -> MaskAnswer:
        """Read and check an answer, then count its bytes.

        Raises:
            RefusedError: if it cannot be used.
        """
        if isinstance(delivery, RefusedError):
            raise delivery
        bundle = self._servers.settings.link.bundle
        rows = len(to_host(request.arrived)) if isinstance(request, Unmasking) else 1
        most, found_bytes = rows * NUM_BYTES + _FRAMING, delivery.facts.num_bytes
        if found_bytes > most:
            raise RefusedError("too_large", f"expected an answer of at most {most} bytes, found one of {found_bytes}")
        try:
            answer = read_single(delivery.path.read_bytes(), bundle=bundle)
        except MessageError as error:
            raise RefusedError("undecodable", str(error)) from error
        if not isinstance(answer, PublicKey if isinstance(request, KeyRequest) else Unmasked):
            raise RefusedError("malformed", f"expected an answer about masks, found {type(answer).__name__}")
        place, found = (request.round_index, request.client_id), (answer.round_index, answer.client_id)
        if found != place:
            raise RefusedError("stale", f"expected round and client {place}, found {found}")
        try:
            if isinstance(request, Unmasking) and isinstance(answer, Unmasked):
                rows_of(answer.revealed, (len(to_host(request.arrived)), NUM_BYTES), "answer")
            elif isinstance(answer, PublicKey):
                read_key(answer)
        except MessageError as error:
            raise RefusedError("malformed", str(error)) from error
        for each in counted([encoded_sizes(answer)], delivery.facts.num_bytes, bundle=bundle):
            self._servers.ledger.record("uplink", each)
        return answer
