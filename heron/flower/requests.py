"""Requests that carry broadcasts and answers to clients, counted, and charged where a round is private."""

from collections.abc import MutableMapping
from dataclasses import replace

from heron.engines.servers import Servers
from heron.flower.records import RoundRequest
from heron.flower.run_notes import RunNotes
from heron.flower.stream import write_single
from heron.wire import Answer, Broadcast
from heron.wire.terms import encode_terms


class Requests:
    """Maker of a round's requests, which also counts their content.

    Args:
        servers: the servers of the round.
        state_round_of: for each client, the round of the kept state that it begins with; changed in place.
        max_reply_bytes: largest piece of a reply.
        notes: name of the run, and what clients were charged.

    Attributes:
        notes: likewise.
    """

    def __init__(
        self, servers: Servers, state_round_of: MutableMapping[int, int], max_reply_bytes: int, notes: RunNotes
    ) -> None:
        self._servers = servers
        self.notes = notes
        self._terms = encode_terms(servers.terms).decode()
        self._state_round_of = state_round_of
        self._max_reply_bytes = max_reply_bytes

    def opening(self, broadcast: Broadcast, *, repeats: bool) -> RoundRequest:
        """The request that opens a client's round, for which the client is charged.

        Args:
            broadcast: what it carries.
            repeats: whether the client repeats a release that it is asked for again, since its secret is in a file.

        Raises:
            RefusedError: if the client's budget does not allow the round.
        """
        client_id = broadcast.client_id
        charged = self.notes.charge(client_id, self._state_round_of.get(client_id, -1), repeats=repeats)
        return replace(self.carrying(broadcast, step=0), charged=charged, repeats=repeats)

    def without_state(self, client_id: int) -> bool:
        """Let a client begin with an empty state from now on, since it has lost the one it had kept.

        Returns:
            Whether it was to begin with another.
        """
        return self._state_round_of.pop(client_id, None) is not None

    def carrying(self, message: Broadcast | Answer, step: int) -> RoundRequest:
        """The request that carries a broadcast or the answer to an upload."""
        content, sizes = write_single(message, bundle=self._servers.settings.link.bundle)
        self._servers.ledger.record("downlink", sizes)
        return RoundRequest(
            terms=self._terms,
            round_index=message.round_index,
            client_id=message.client_id,
            step=step,
            state_round=self._state_round_of.get(message.client_id, -1),
            max_reply_bytes=self._max_reply_bytes,
            run=self.notes.run,
            secret=self.notes.secrets.get(message.client_id, ""),
            charged=0,
            least_examples=self.notes.least_examples(message.client_id),
            repeats=False,
            fixes_rounds=self.notes.fixes_rounds,
            content=content,
        )
