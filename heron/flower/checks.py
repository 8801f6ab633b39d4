"""Checks of everything that a client sent in a round, before anything is trained on it.

A message that passes can be given to the servers: its round, client, order, number, shapes, types and labels are
right, and its values are finite. `B` examples of a batch.
"""

import math
from collections.abc import Iterator
from itertools import count

from heron.data import num_local_steps
from heron.engines.clients import num_trained
from heron.engines.servers import Servers
from heron.errors import MessageError, TrainingError
from heron.flower.expected import Expected
from heron.flower.faults import RefusedError
from heron.flower.records import Parcel
from heron.wire import FromClient, Message, PackedData, ProbeData, Reply, SnapshotRequest, Upload


class RoundCheck:
    """Check of the messages of one client in one round, in the order of their arrival.

    Args:
        servers: the servers that will receive the messages; not changed.
        expected: form of an upload.
        round_index: t, from 0.
        client_id: the client that must have sent the messages.
        may_ask: whether the client may ask for a snapshot, because it was not sent one.

    Attributes:
        asks: whether the client asks for a snapshot.
    """

    def __init__(
        self, servers: Servers, expected: Expected, round_index: int, client_id: int, *, may_ask: bool
    ) -> None:
        self._servers = servers
        self._expected = expected
        self._place = (round_index, client_id)
        self._steps = self._uploads()
        self._num_uploads = 0
        self._reply: Reply | None = None
        self._may_ask = may_ask
        self.asks = False

    def take(self, message: Message) -> None:
        """Check the next message.

        Raises:
            RefusedError: if it cannot be used.
        """
        if not isinstance(message, FromClient):
            raise RefusedError("malformed", f"expected an upload or a reply, found {type(message).__name__}")
        found = (message.round_index, message.client_id)
        if found != self._place:
            raise RefusedError("stale", f"expected round and client {self._place}, found {found}")
        if self._reply is not None or self.asks:
            raise RefusedError("malformed", f"expected nothing after the reply, found {type(message).__name__}")
        if isinstance(message, SnapshotRequest):
            self._take_request()
        elif isinstance(message, Reply):
            self._take_reply(message)
            self._reply = message
        else:
            self._take_upload(message)

    def end(self, facts: Parcel) -> None:
        """Check the end of the messages.

        Args:
            facts: the client's own statements about its round.

        Raises:
            RefusedError: if a reply is missing, since only simulated drop-outs end without one; or if the facts differ
                from those of the reply.
        """
        settings = self._servers.settings
        if self.asks:
            if not facts.finished or facts.num_examples or facts.keeps_state:
                raise RefusedError("malformed", "expected the end of a round without examples, found another")
            return
        if self._reply is None:
            if not settings.clients.dropout:
                raise RefusedError("malformed", "expected a reply at the end of the round, found none")
            return
        num_examples = num_trained(self._servers.terms, self._reply.num_examples, self._reply.num_steps)
        if not facts.finished or facts.num_examples != num_examples:
            raise RefusedError("malformed", f"expected the end of a round of {num_examples} examples, found another")

    def _take_request(self) -> None:
        if not self._may_ask or self._num_uploads:
            raise RefusedError(
                "malformed", "expected a request for a snapshot before anything else, if none was sent, found another"
            )
        self.asks = True

    def _take_upload(self, upload: Upload) -> None:
        step, probe = next(self._steps, (None, None))
        while self._draws and step is not None and step < upload.local_step:  # a batch may be empty
            step, probe = next(self._steps, (None, None))
        found = (upload.local_step, upload.probe if isinstance(upload, ProbeData) else None)
        if step is None or found != (step, probe):
            raise RefusedError("malformed", f"expected the upload of step and probe {(step, probe)}, found {found}")
        settings = self._servers.settings
        if isinstance(upload, PackedData) != settings.smashed.packs:
            raise RefusedError(
                "malformed", f"expected smashed data written as {settings.smashed}, found {type(upload).__name__}"
            )
        if isinstance(upload, PackedData):
            self._expected.check_packed(upload, settings.smashed, self._largest_batch())
        else:
            self._expected.check(upload.smashed, upload.labels, self._largest_batch())
        self._num_uploads += 1

    def _take_reply(self, reply: Reply) -> None:
        settings, algorithm = self._servers.settings, self._servers.algorithm
        is_private = settings.hides_numbers
        if is_private and reply.num_examples != 1:
            raise RefusedError(
                "malformed",
                f"expected num_examples of 1 with privacy or secure_sum, found {reply.num_examples}; update the client",
            )
        if reply.num_examples < 1 or reply.num_steps < 1:
            raise RefusedError("malformed", "expected at least one example and step, found none")
        num_steps = num_local_steps(
            reply.num_examples,
            settings.client.batch_size,
            settings.client.local_steps or None,
            joins=self._servers.terms.joins(reply.num_examples),
        )
        is_short = reply.num_steps < num_steps and settings.clients.stragglers > 0
        if reply.num_steps != num_steps and not is_short:
            raise RefusedError("malformed", f"expected {num_steps} local steps, found {reply.num_steps}")
        period = self._servers.terms.upload_period
        num_uploads = 0 if period is None else -(-reply.num_steps // period) * self._per_step()
        if self._num_uploads != num_uploads and not (self._draws and self._num_uploads < num_uploads):
            raise RefusedError("malformed", f"expected {num_uploads} uploads, found {self._num_uploads}")
        knows_loss = algorithm.head is not None or algorithm.answers == "loss"
        if knows_loss and not is_private and not math.isfinite(float(reply.train_loss)):
            raise RefusedError("not_finite", "expected a finite local loss, found NaN or infinity")
        try:
            self._servers.fed_server.check(reply)
        except TrainingError as error:
            raise RefusedError("not_finite", str(error)) from error
        except MessageError as error:
            raise RefusedError("malformed", str(error)) from error

    @property
    def _draws(self) -> bool:
        return self._servers.settings.privacy.draws_batches

    def _largest_batch(self) -> int:
        """Number of examples of the largest batch; how many a client has is not known before its reply."""
        terms = self._servers.terms
        if self._draws:  # more than that have a probability below 1e-20
            return 2 * terms.settings.client.batch_size + 64
        return terms.settings.client.batch_size + (terms.pairs != "none")

    def _uploads(self) -> Iterator[tuple[int, int | None]]:
        """Local step and probe of every possible upload, in order; the probe is None for clean smashed data."""
        period = self._servers.terms.upload_period
        if period is None:
            return
        probes = list(range(self._per_step() - 1))
        of_step = [None, *probes] if self._servers.algorithm.clean_first else [*probes, None]
        steps = range(0, self._servers.settings.client.local_steps, period) if self._draws else count(0, period)
        for step in steps:
            yield from ((step, probe) for probe in of_step)

    def _per_step(self) -> int:
        """Number of uploads in a step that uploads: one per probe if the server evaluates probes, else one."""
        estimator = self._servers.learning.estimator
        if self._servers.algorithm.answers != "loss" or estimator is None:
            return 1
        return 1 + estimator.num_probe_forwards
