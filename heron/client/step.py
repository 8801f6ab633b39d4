"""A client's local step: where it stands in a run, its outcome, and the learner that makes it."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from heron.data import Batch
from heron.seeds import derive_seed

ClientState = dict[str, Any]
"""Arrays that a client keeps between its rounds, serialisable: optimiser state by name; empty before the first."""


@dataclass(frozen=True)
class StepKey:
    """Where a local step stands in a run: everything random in it is a function of this.

    Attributes:
        run_seed: seed of the run.
        round_index: from 0.
        client_id: from 0.
        local_step: from 0 within the round.
    """

    run_seed: int
    round_index: int
    client_id: int
    local_step: int

    def seed(self, domain: str, *fields: int) -> int:
        """Seed for one purpose within this step, e.g. `key.seed("direction", probe)`."""
        return derive_seed(domain, self.run_seed, self.round_index, self.client_id, self.local_step, *fields)


@dataclass(frozen=True)
class StepResult:
    """Outcome of one local step.

    Attributes:
        loss: clean loss that the client descends, l(f_a(f_c(x)), y), shape (), on the device; None where it knows none.
        projected_gradients: of the step's q probes, shape (q,), float32, where the client sends these; else None.
    """

    loss: Tensor | None
    projected_gradients: Tensor | None = None


@dataclass(frozen=True)
class Perturbed:
    """Smashed data of a probe, handed over for its loss.

    Attributes:
        smashed: f_c(x) at perturbed parameters, shape (B, ...).
        probe: which of the step's, from 0.
    """

    smashed: Tensor
    probe: int


StepGenerator = Generator[Tensor | Perturbed | None, Tensor | None, StepResult]
"""Yields the step's smashed data, alone or after that of its probes, each as early as it can be handed over; or None,
once, where nothing is ever uploaded. It learns, in a coupled round from the answer to each, and returns the result."""


class ClientLearner(Protocol):
    """A client's learning. One learner is resident per worker; clients are swapped in with `load`."""

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """Become the client that received `model` and kept `state`; takes ownership of the state's tensors."""
        ...

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One local step."""
        ...

    def model(self) -> dict[str, Tensor]:
        """What the client changes and the Fed Server averages, by name; views that the next step changes."""
        ...

    def replayed(self) -> tuple[str, ...]:
        """Names in `model` whose change the steps' projected gradients tell, in the order of the flat buffer."""
        ...

    def state(self) -> ClientState:
        """What the client keeps for its next round."""
        ...

    def resident(self) -> dict[str, list[Tensor]]:
        """Tensors held between steps, under the keys `parameters`, `buffers` and `optimizer_state`."""
        ...
