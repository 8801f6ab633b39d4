"""A Fed Server of clients that draw their directions from a pool of candidates: FedKSeed's.

Replies hold a sum of projected gradients for each candidate. The server keeps theta_0 and the sums of all rounds, from
which it makes theta anew each round, and so does every client: K numbers go down, whatever the client missed.

`K` candidates.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heron.errors import ConfigError, MessageError
from heron.server.finite import require_finite
from heron.server.scalar_server import ScalarFedServer
from heron.tensors import as_tensor
from heron.wire import Broadcast, ModelBroadcast, Reply, ScalarBroadcast
from heron.wire.candidates import STANDING, Candidates, pro_probabilities, scalar_dtype
from heron.wire.learning import Learning
from heron.wire.terms import Terms
from heron.wire.walk_log import flatten
from heron.wire.walks import RoundWalks, Walk, summed

_START = "start"
_SUMS = "candidates"
_MAX_STEPS = 2**20  # where a round is a pass: each step is drawn again here with `pro` sampling


class CandidateFedServer(ScalarFedServer):
    """Fed Server that averages sums of projected gradients; a client that holds theta_0 is sent the sums of all rounds.

    Args:
        terms: names and roles of the tensors that travel, and the settings of the mean.
        tensors: their initial values by name; copied.
        learning: settings of the clients' learning.

    Raises:
        ConfigError: if an optimizer is set for the mean, or a bound of single scalars, which nobody sends.
    """

    def __init__(self, terms: Terms, tensors: Mapping[str, Tensor], learning: Learning) -> None:
        super().__init__(terms, tensors, learning)
        if terms.settings.fed_server.optimizer != "average":
            raise ConfigError(
                f"{terms.algorithm}: expected fed_server.optimizer=average, found "
                f"{terms.settings.fed_server.optimizer}: its models are sums of all rounds; leave it, or choose decomfl"
            )
        if terms.settings.fed_server.max_scalar:
            raise ConfigError(
                f"{terms.algorithm}: expected fed_server.max_scalar=0, found {terms.settings.fed_server.max_scalar}: "
                f"its replies hold sums of projected gradients; leave it 0, or choose decomfl"
            )
        self._candidates = Candidates(learning)
        self._learning = learning
        self._is_pro = learning.settings.estimator.sampling == "pro"
        self._start = dict(self.theta)
        size = self._candidates.size
        self._sums_K = np.zeros(size)
        self._magnitudes_K = np.zeros(size)
        self._counts_K = np.zeros(size, np.int64)
        self._replies: list[Reply] = []

    def broadcast(self, round_index: int, client_id: int) -> Broadcast:
        """The sums of all rounds, if the client is known to hold theta_0; else a snapshot."""
        if self._log.since_known(client_id) is None:
            return self.snapshot(round_index, client_id)
        self._round_index = round_index
        digest = 0 if round_index % self._digest_period else self._digest(round_index)
        walks = flatten([RoundWalks(round_index, (Walk(0, 1, self._standing()),))])
        rest = self.packed(self.model | self.downlink_only)
        return ScalarBroadcast(round_index, client_id, 0, digest, *walks, rest)

    def snapshot(self, round_index: int, client_id: int) -> ModelBroadcast:
        """A broadcast for a client that holds nothing: theta_0, and the sums as soon as there are any."""
        self._round_index = round_index
        standing = self._standing()
        sums: dict[str, Any] = {STANDING: standing} if standing[: self._candidates.size].any() else {}
        rest = self.packed(self.model | self.downlink_only)
        return ModelBroadcast(round_index, client_id, self._start | sums | rest)

    def accept(self, reply: Reply) -> None:
        """Record the client's sums; its other tensors are added to their mean.

        Raises:
            MessageError: if it does not contain the sums, or has the wrong tensors.
            TrainingError: if a value is not finite.
        """
        super().accept(reply)
        self._replies.append(reply)

    def average(self) -> tuple[float, int]:
        """Add the mean of the sums to those of earlier rounds and make theta anew; without a reply keep it.

        Raises:
            TrainingError: if theta is no longer finite.
        """
        walks, self._walks = self._walks, []
        replies, self._replies = self._replies, []
        sums_K, magnitudes_K, counts_K = self._sums_K, self._magnitudes_K, self._counts_K
        if walks:
            size, rate = self._candidates.size, self._learning.rate(self._round_index) / self._replayer.num_probes
            (mean,) = summed(walks, "float64")
            sums_K = sums_K + rate * mean.scalars_P[:size]
            if self._is_pro:
                magnitudes_K = magnitudes_K + np.sum([walk.scalars_P[size:] for walk in walks], axis=0, dtype=float)
                counts_K = counts_K + self._drawn(replies)
        theta = self._candidates.reached(self._start, sums_K.astype(scalar_dtype(self._start)))
        require_finite(theta)
        outcome = super(ScalarFedServer, self).average()
        self.theta = theta
        self._sums_K, self._magnitudes_K, self._counts_K = sums_K, magnitudes_K, counts_K
        return outcome

    def state(self) -> dict[str, dict[str, Tensor]]:
        """State that the next round depends on: groups of tensors by name."""
        sums = {"sums": self._sums_K, "magnitudes": self._magnitudes_K, "counts": self._counts_K}
        held = {name: as_tensor(array) for name, array in sums.items()}
        return super().state() | {_START: self._start, _SUMS: held}

    def load_state(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from a result of `state`."""
        super().load_state(groups)
        self._start = {name: groups[_START][name] for name in self.theta}
        held = {name: tensor.cpu().numpy() for name, tensor in groups[_SUMS].items()}
        self._sums_K, self._magnitudes_K, self._counts_K = held["sums"], held["magnitudes"], held["counts"]

    def save_point(self) -> Callable[[], None]:
        """Return a function that undoes all later changes."""
        undo_rest, held = super().save_point(), (self._sums_K, self._magnitudes_K, self._counts_K)

        def undo() -> None:
            undo_rest()
            self._replies = []
            self._sums_K, self._magnitudes_K, self._counts_K = held

        return undo

    def _num_scalars(self, reply: Reply) -> int:
        limit = self._learning.settings.client.local_steps or _MAX_STEPS
        if reply.num_steps > limit:
            raise MessageError(
                f"client {reply.client_id} in round {reply.round_index + 1}: expected at most {limit} local steps, "
                f"found {reply.num_steps}; both sides need the same client.local_steps"
            )
        return self._candidates.size * (1 + self._is_pro)

    def _standing(self) -> NDArray[Any]:
        """The sums of all rounds and, with `pro` sampling, the probabilities of the next draws."""
        dtype = scalar_dtype(self._start)
        parts = [self._sums_K.astype(dtype)]
        if self._is_pro:
            parts.append(pro_probabilities(self._magnitudes_K, self._counts_K).astype(dtype))
        return np.concat(parts)

    def _drawn(self, replies: list[Reply]) -> NDArray[np.int64]:
        """Number of draws of each candidate in the round; they are known without being sent."""
        _, probabilities_K = self._candidates.parsed(self._standing())
        drawn = [
            number
            for reply in replies
            for step in range(reply.num_steps)
            for number in self._candidates.draw(
                (reply.round_index, reply.client_id, step), self._replayer.num_probes, probabilities_K
            )
        ]
        return np.bincount(drawn, minlength=self._candidates.size)
