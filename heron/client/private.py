"""Clients whose steps leave them clipped, summed and noised: with probes, differential privacy at forward-only cost.

Of every example i and probe p the client has the number d_ip = (l_i(theta + mu u_p) - l_i(theta)) / mu, or its central
form. The q numbers of an example are one vector, which `heron.privacy.mechanism` clips, sums and noises; the q numbers
that come out take the place of the projected gradients. All that follows, the update rule with its moments, what is
sent, replay and averaging, is a function of these and of what everybody knows.

With an exactly trained head (`client.exact=1`) a step releases a second vector, the head's gradient, of which every
example's is clipped to a norm of its own. Both are one mechanism: in units of its clip each changes by at most 1, so
both together by sqrt(2), and each has sqrt(2) times the noise.

A first-order client does the same with the gradient of each example (DP-SGD, Abadi et al., CCS 2016), which costs it
B gradients in place of one: the baseline.

`P` probes, `D` parameters, `B` examples of a batch, which may be 0.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, is_fake, to_host
from heron.client.example_gradients import ExampleGradients
from heron.client.learner import Learner
from heron.client.runtime import Runtime
from heron.client.step import StepGenerator, StepResult
from heron.client.zeroth_order import ZerothOrderPart
from heron.data import Batch
from heron.errors import ConfigError
from heron.privacy.mechanism import VectorMechanism
from heron.privacy.vault import Vault
from heron.seeds import StepKey
from heron.wire.learning import Learning

NOISE = "noise"
"""Purpose of the draws of noise from a secret."""
HEAD_NOISE = "head noise"
"""The same, for the gradient of an exactly trained head."""


class PrivateClient(Learner):
    """A client with differential privacy for each example. It reports no loss, which would not be noised.

    Args:
        runtime: the client's network.
        learning: update rule, learning rates, estimator, mechanism and vault.
        upload_period: local steps from one upload of smashed data to the next; None where nothing is uploaded.
    """

    def __init__(self, runtime: Runtime, learning: Learning, *, upload_period: int | None) -> None:
        super().__init__(runtime, learning)
        assert learning.vault is not None  # whoever makes private clients gives them one
        self._vault = learning.vault
        self._mechanism = learning.mechanism(num_parts=1)
        self._upload_period = upload_period

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one noised step, with a clean pass first for smashed data where they are uploaded."""
        if self._upload_period is None or key.local_step % self._upload_period or not len(batch):
            yield None
            return self._learn(batch, key, None)
        smashed, losses_B = self.clean_pass(batch, key)
        yield smashed
        del smashed  # handed over: what follows needs its room
        return self._learn(batch, key, losses_B)

    def clean_pass(self, batch: Batch, key: StepKey) -> tuple[Array, Array | None]:
        """Run a clean pass: smashed data, shape (B, ...), and the losses of all examples where probes need them."""
        return self.runtime.smash(batch, key.seed("dropout")), None

    @abstractmethod
    def _learn(self, batch: Batch, key: StepKey, losses_B: Array | None) -> StepResult:
        """Release numbers of a batch, which may be empty, and learn from these alone.

        Losses are those of a clean pass, if there was one that computed them.
        """

    def _release(
        self, total_D: NDArray[np.int64], key: StepKey, mechanism: VectorMechanism, purpose: str = NOISE
    ) -> NDArray[np.float64]:
        """Add the step's noise to a clipped sum."""
        return noised(total_D, key, mechanism, self._vault, purpose)

    def _clipped_gradients(self, batch: Batch, mechanism: VectorMechanism) -> NDArray[np.int64]:
        """Add up the clipped gradients of the exact part, example by example."""
        total_D = self._exact_zeros()
        for gradients_BD in self._example_gradients(batch) if len(batch) else ():
            total_D += mechanism.clipped_sum(read_vectors(gradients_BD))
        return total_D

    def _exact_zeros(self) -> NDArray[np.int64]:
        """Return a sum of no example's gradient."""
        assert self._exact is not None  # the algorithm's orders say so
        return np.zeros(sum(math.prod(array.shape) for array in self._exact.parameters().values()), np.int64)

    def _example_gradients(self, batch: Batch) -> Iterator[Array]:
        assert isinstance(self._exact, ExampleGradients)  # other runtimes are refused before
        return self._exact.example_gradients(batch)

    def _step_exact(self, gradient_D: NDArray[np.float64], key: StepKey) -> None:
        """Take the exact part's step along a released gradient."""
        assert isinstance(self._exact, ExampleGradients)  # as above
        self._exact.set_gradient(self.runtime.receive(gradient_D))
        self.update_exact(key)


class PrivateProbingClient(PrivateClient):
    """A backprop-free client whose projected gradients are noised: q + 1 forwards a step, central 2 q.

    Raises:
        ConfigError: if more than a head learns exactly, or layer groups learn by themselves.
    """

    def __init__(self, runtime: Runtime, learning: Learning, *, upload_period: int | None) -> None:
        super().__init__(runtime, learning, upload_period=upload_period)
        if runtime.groups or learning.client.exact not in (0, 1):
            raise ConfigError(
                "expected client.exact of 0 or 1 and client.learning=zeroth_order with privacy, found another kind of "
                "client: its gradients are not clipped; set both, or leave [privacy] out"
            )

    def clean_pass(self, batch: Batch, key: StepKey) -> tuple[Array, Array | None]:
        """Run a clean pass, whose losses one-sided probes are compared with."""
        if self.probed is None or self.probed.estimator.scheme != "one_sided":
            return super().clean_pass(batch, key)
        return self.runtime.clean_losses(batch, key.seed("dropout"))

    def vectors(self, batch: Batch, key: StepKey, losses_B: Array | None = None) -> NDArray[np.floating]:
        """Compute the projected gradients of every example, and leave the parameters at the last probe.

        Args:
            batch: B examples; there may be none.
            key: the step's place.
            losses_B: of the examples, if `clean_pass` has computed them.

        Returns:
            Shape (B, P), neither clipped nor noised: nothing that may leave.
        """
        probed = self._probing()
        seeds = probed.directions(key)
        if not len(batch):
            return np.zeros((0, len(seeds)))
        mask_seed = key.seed("dropout")

        def losses() -> Array:
            return self.runtime.losses(batch, mask_seed)

        estimator = probed.estimator
        if losses_B is None and estimator.scheme == "one_sided":
            losses_B = losses()
        vectors_PB = estimator.projected_gradients_(probed.theta, losses, seeds, losses_B)
        return read_vectors(vectors_PB.T).astype(np.float64)  # a copy: nothing of the device's memory is kept

    def descend(self, released_P: NDArray[np.float64], key: StepKey) -> StepResult:
        """Take the step that released numbers make.

        Args:
            released_P: in place of the projected gradients.
            key: the step's place.
        """
        probed = self._probing()
        probed.update(key, probed.directions(key), self.runtime.receive(released_P))
        return StepResult(None, probed.sent())

    def _learn(self, batch: Batch, key: StepKey, losses_B: Array | None) -> StepResult:
        total_P = self._mechanism.clipped_sum(self.vectors(batch, key, losses_B))
        return self.descend(self._release(total_P, key, self._mechanism), key)

    def _probing(self) -> ZerothOrderPart:
        assert self.probed is not None  # the algorithm's orders say so
        return self.probed


class PrivateHeadClient(PrivateProbingClient):
    """A client with an exactly trained head: q + 1 forwards, and one more for the head's gradients.

    Raises:
        ConfigError: if the runtime has no gradients of single examples of this head.
    """

    def __init__(self, runtime: Runtime, learning: Learning, *, upload_period: int | None) -> None:
        super().__init__(runtime, learning, upload_period=upload_period)
        exact: object = runtime.exact
        if not isinstance(exact, ExampleGradients):
            raise ConfigError(
                "expected a head of one linear layer under cross-entropy with client.exact=1 and privacy in an export, "
                "found another: its graph has no gradients of single examples; set client.runtime=torch or "
                "client.exact=0"
            )
        self._mechanism = learning.mechanism(num_parts=1 if self.probed is None else 2)
        self._head_mechanism = replace(self._mechanism, clip=learning.settings.privacy.exact_clip)

    def _learn(self, batch: Batch, key: StepKey, losses_B: Array | None) -> StepResult:
        total_D = self._clipped_gradients(batch, self._head_mechanism)  # before anything moves
        result = super()._learn(batch, key, losses_B) if self.probed is not None else StepResult(None)
        self._step_exact(self._release(total_D, key, self._head_mechanism, HEAD_NOISE), key)
        return result


class PrivateGradientClient(PrivateClient):
    """A first-order client whose gradients are clipped example by example: B x D values, or those of a micro-batch."""

    @property
    def num_values(self) -> int:
        """Number of trained values, D."""
        return len(self._exact_zeros())

    def vectors(self, batch: Batch) -> NDArray[np.floating]:
        """Compute the gradient of every example, shape (B, D), neither clipped nor noised: nothing that may leave.

        Args:
            batch: B examples, at least 1.
        """
        return np.concatenate([read_vectors(gradients_BD) for gradients_BD in self._example_gradients(batch)])

    def descend(self, released_D: NDArray[np.float64], key: StepKey) -> StepResult:
        """Take the step along a released gradient, shape (D,)."""
        self._step_exact(released_D, key)
        return StepResult(None)

    def _learn(self, batch: Batch, key: StepKey, losses_B: Array | None) -> StepResult:  # noqa: ARG002
        total_D = self._clipped_gradients(batch, self._mechanism)
        return self.descend(self._release(total_D, key, self._mechanism), key)


def noised(
    total_D: NDArray[np.int64], key: StepKey, mechanism: VectorMechanism, vault: Vault, purpose: str = NOISE
) -> NDArray[np.float64]:
    """Add the noise of a step to a clipped sum, from the client's own secret.

    Args:
        total_D: a result of `mechanism.clipped_sum`, or a sum of some.
        key: the step's place.
        mechanism: clip, noise and expected size of a batch.
        vault: keeps the device's secret.
        purpose: one for each release of a step.
    """
    own = vault.releasing(key.client_id)
    return mechanism.release(total_D, own.normals(total_D.shape, purpose, key.round_index, key.local_step))


def read_vectors(vectors_BD: Array) -> NDArray[np.floating]:
    """Return vectors on the host; none, shape (0, D), in a step that is planned, whose numbers do not exist."""
    return np.zeros((0, vectors_BD.shape[1])) if is_fake(vectors_BD) else to_host(vectors_BD)
