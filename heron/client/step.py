"""A client's local step: where it stands in a run, its outcome, and the learner that makes it."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from heron.arrays import Array
from heron.data import Batch
from heron.seeds import StepKey

ClientState = Mapping[str, Array]
"""Arrays by name that a client keeps between its rounds, such as optimiser state; empty before the first round."""


@dataclass(frozen=True)
class StepResult:
    """Outcome of one local step.

    Attributes:
        loss: clean loss that the client descends, l(f_a(f_c(x)), y), shape (), on the device; None where it computes
            none.
        projected_gradients: of the step's q probes, shape (q,), float32, where the client sends these; else None.
        candidates: number of each probe's direction, where replies hold a sum for each candidate; else None.
    """

    loss: Array | None
    projected_gradients: Array | None = None
    candidates: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Perturbed:
    """Smashed data of a probe, handed over for its loss.

    Attributes:
        smashed: f_c(x) at perturbed parameters, shape (B, ...).
        probe: number of the probe in the step, from 0.
    """

    smashed: Array
    probe: int


StepGenerator = Generator[Array | Perturbed | None, Array | None, StepResult]
"""Yields the step's smashed data, alone or after that of its probes, each as early as it can be handed over; or None,
once, where nothing is ever uploaded. It learns, in a coupled round from the answer to each, and returns the result."""


class ClientLearner(Protocol):
    """A client's learning. One learner is resident per worker; clients are swapped in with `load`."""

    def load(self, model: Mapping[str, Array], state: ClientState) -> None:
        """Become the client that received `model` and kept `state`; takes ownership of the state's arrays.

        Args:
            model: received arrays by name.
            state: what the client kept; empty before its first round.
        """
        ...

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one local step.

        Args:
            batch: B examples.
            key: the step's place in the run, for seeds.

        Returns:
            A generator of the step, see `StepGenerator`.
        """
        ...

    def receive(self, array: Array) -> Array:
        """Return a received array as one of the client's own, on its device."""
        ...

    def model(self) -> Mapping[str, Array]:
        """Return what the client changes and the Fed Server averages, by name; views that the next step changes."""
        ...

    def replayed(self) -> tuple[str, ...]:
        """Return the names in `model` that projected gradients replay, in the order of the flat buffer."""
        ...

    def state(self) -> ClientState:
        """Return what the client keeps for its next round."""
        ...

    def resident(self) -> Mapping[str, Sequence[Array]]:
        """Return arrays held between steps, under the keys `parameters`, `buffers` and `optimizer_state`."""
        ...
