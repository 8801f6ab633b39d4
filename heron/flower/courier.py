"""Transport of requests to clients and of their replies, which go into files; bounded in time and bytes."""

import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heron.errors import MessageError
from heron.flower.faults import Fault, RefusedError
from heron.flower.nodes import Nodes
from heron.flower.records import (
    MaskQuestion,
    Parcel,
    PartRequest,
    Refusal,
    RoundRequest,
    is_record,
    read_record,
    write_record,
)
from heron.flower.settings import DeploymentSettings
from heron.flower.stream import num_pieces
from heron.wire.messages import MAX_EXAMPLES

if TYPE_CHECKING:
    from flwr.app import Message
    from flwr.serverapp import Grid

_POLL_S = 0.1
_DIGEST = re.compile("(?:[0-9a-f]{16})?")
_KINDS = {RoundRequest: "train.round", PartRequest: "train.part", MaskQuestion: "train.masks"}
_REFUSALS: tuple[Fault, ...] = ("lost", "lost_state", "withheld")
"""Faults that a client may name; every other refusal is `declined`."""
# Errors that a malformed compressed message from a stranger can cause in Flower's reader.
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Delivery:
    """A client's reply to a request.

    Attributes:
        facts: the first piece, without its content.
        path: file that contains the whole stream.
    """

    facts: Parcel
    path: Path


@dataclass
class _Errand:
    request: RoundRequest | MaskQuestion
    message_id: str
    path: Path
    facts: Parcel | None = None
    num_parts: int = 0


class Courier:
    """Sender of requests, which asks for further pieces and enforces the deadline.

    Args:
        grid: Flower's access to the nodes.
        nodes: the nodes by client.
        settings: limits of time and size.
        clock: returns seconds, ascending.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        grid: "Grid",
        nodes: Nodes,
        settings: DeploymentSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._grid = grid
        self._nodes = nodes
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._folder = Path(tempfile.mkdtemp(prefix="heron-replies-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._errands: dict[int, _Errand] = {}

    def send(self, request: RoundRequest | MaskQuestion) -> None:
        """Send a request to the client that it names; `collect` returns the reply."""
        kind = "masks" if isinstance(request, MaskQuestion) else "stream"  # questions come while replies are needed
        path = self._folder / f"{request.client_id}.{kind}"
        path.write_bytes(b"")
        self._errands[request.client_id] = _Errand(request, self._push(request.client_id, request), path)

    def keeps_secret(self, client_id: int) -> bool:
        """Return whether the secret of a client's node outlives a restart of it."""
        return self._nodes.keeps_secret(client_id)

    def collect(self) -> Iterator[tuple[int, Delivery | RefusedError]]:
        """Yield clients with their replies, as they arrive, until every request is settled or time is up.

        Yields:
            The client, and its delivery or the reason for its absence.
        """
        deadline = self._clock() + self._settings.round_timeout_s
        while self._errands:
            settled = list(self._look_around())
            yield from settled
            if self._clock() >= deadline:
                break
            if self._errands and not settled:
                self._sleep(_POLL_S)
        late, self._errands = list(self._errands), {}
        for client_id in late:
            yield client_id, RefusedError("late", f"no reply within {self._settings.round_timeout_s:g} s")

    def _look_around(self) -> Iterator[tuple[int, Delivery | RefusedError]]:
        for client_id, errand in list(self._errands.items()):
            if not errand.message_id:
                del self._errands[client_id]
                yield client_id, RefusedError("failed", "its node cannot be reached")
                continue
            for message in self._pull(errand):
                settled = message if isinstance(message, RefusedError) else self._settle(errand, message)
                if settled is not None:
                    self._errands.pop(client_id, None)
                    yield client_id, settled

    def _pull(self, errand: _Errand) -> "list[Message] | list[RefusedError]":
        """Messages that have arrived in reply to one request; replies of two clients are never in memory together."""
        try:
            return list(self._grid.pull_messages([errand.message_id]))
        except _UNREADABLE as error:  # the grid itself could not decode a message
            return [RefusedError("undecodable", f"unreadable for Flower ({type(error).__name__})")]

    def _settle(self, errand: _Errand, message: "Message") -> Delivery | RefusedError | None:
        """The outcome of an errand; None if more pieces are to come."""
        if errand.request.client_id not in self._errands:
            return RefusedError("duplicate", "it has replied to this request before")
        try:
            return self._receive(errand, message)
        except RefusedError as refused:
            return refused
        except MessageError as error:
            return RefusedError("undecodable", str(error))

    def _receive(self, errand: _Errand, message: "Message") -> Delivery | None:
        """Write a piece to the errand's file; returns the delivery once all pieces are there."""
        if message.has_error():
            # Its text may be a traceback with arbitrary content.
            raise RefusedError("failed", f"error code {message.error.code} of Flower")
        if is_record(message.content, Refusal):
            refusal = read_record(message.content, Refusal)
            for fault in _REFUSALS:
                if refusal.fault == fault:
                    raise RefusedError(fault, refusal.reason)
            self._nodes.forget(errand.request.client_id)  # the node may serve another client now
            raise RefusedError("declined", refusal.reason)
        parcel = read_record(message.content, Parcel)
        self._check(errand, parcel)
        with errand.path.open("ab") as file:
            file.write(parcel.content)
        if errand.facts is None:
            errand.facts = _without_content(parcel)
        errand.num_parts += 1
        if errand.num_parts == parcel.num_parts:
            return Delivery(errand.facts, errand.path)
        request = errand.request
        part = PartRequest(request.round_index, request.client_id, request.step, errand.num_parts)
        errand.message_id = self._push(request.client_id, part)
        return None

    def _check(self, errand: _Errand, parcel: Parcel) -> None:
        request, limit = errand.request, self._settings.max_reply_bytes
        place = (request.round_index, request.client_id, request.step)
        found = (parcel.round_index, parcel.client_id, parcel.step)
        if found != place or parcel.part != errand.num_parts:
            raise RefusedError(
                "stale",
                f"expected round, client, step and piece {(*place, errand.num_parts)}, found {(*found, parcel.part)}",
            )
        if not 0 <= parcel.num_examples <= MAX_EXAMPLES:
            raise RefusedError("malformed", f"expected 0 to {MAX_EXAMPLES} examples, found {parcel.num_examples}")
        if _DIGEST.fullmatch(parcel.secret) is None:
            raise RefusedError("malformed", "expected the digest of a secret or nothing, found another text")
        size = len(parcel.content)
        if size > limit or parcel.num_parts > self._settings.max_parts:
            raise RefusedError(
                "too_large",
                f"expected at most {self._settings.max_parts} pieces of {limit} bytes, found one of {size} bytes, of "
                f"{parcel.num_parts}; raise max_parts or max_reply_bytes",
            )
        expected = min(limit, parcel.num_bytes - parcel.part * limit)
        if parcel.num_parts != num_pieces(parcel.num_bytes, limit) or size != expected:
            raise RefusedError(
                "malformed", f"expected a piece of {expected} bytes, of {parcel.num_bytes} declared, found {size}"
            )
        if errand.facts is not None and _without_content(parcel) != errand.facts:
            raise RefusedError("malformed", "expected pieces of one reply, found one that declares another")

    def _push(self, client_id: int, record: Any) -> str:
        """Send a record to a client; returns the message's id, or an empty string if the client is not reachable."""
        from flwr.app import Message

        node = self._nodes.node_of(client_id)
        if node is None:
            return ""
        message = Message(write_record(record), node, _KINDS[type(record)], ttl=2 * self._settings.round_timeout_s)
        return next(iter(self._grid.push_messages([message])), "") or ""


def _without_content(parcel: Parcel) -> Parcel:
    """The fields of a parcel that are the same for all pieces of a reply."""
    return replace(parcel, part=0, content=b"")
