"""The part of a client's learning that is the same for every algorithm: what it loads, sends back and keeps."""

from collections.abc import Mapping, Sequence

from heron.arrays import Array
from heron.client.runtime import Runtime
from heron.client.step import ClientState
from heron.client.zeroth_order import ZerothOrderPart
from heron.seeds import StepKey
from heron.wire.learning import Learning
from heron.zo.steps import StepRecord

_BELOW = "below/"


class Learner:
    """A client's parameters, in the orders in which they learn, and its state; an algorithm adds `step`.

    Args:
        runtime: the client's network.
        learning: update rule, learning rates and estimator.

    Attributes:
        runtime: the client's network.
        probed: the part that learns from probes; None where nothing does.
    """

    def __init__(self, runtime: Runtime, learning: Learning) -> None:
        self.runtime = runtime
        self._learning = learning
        self._exact = runtime.exact
        self.probed = None if runtime.theta is None else ZerothOrderPart(runtime.theta, learning)
        # The state of a client that learns in both orders keeps the two apart.
        self._prefix = _BELOW if self._exact is not None else ""

    @property
    def last_step(self) -> StepRecord | None:
        """Seeds and projected gradients of the latest step."""
        return None if self.probed is None else self.probed.last_step

    def load(self, model: Mapping[str, Array], state: ClientState) -> None:
        """Take parameters and buffers from the broadcast, and optimiser states from `state`, or none.

        Args:
            model: received arrays by name.
            state: what the client kept; empty before its first round.
        """
        own = {name: self.receive(array) for name, array in state.items()}
        names = () if self.probed is None else self.probed.theta.names
        if self._exact is None and self.probed is not None:
            buffers = self.runtime.buffers()
            self.probed.load({name: array for name, array in model.items() if name not in buffers}, own)
        if self._exact is not None and self.probed is not None:
            kept = {name.removeprefix(_BELOW): array for name, array in own.items() if name.startswith(_BELOW)}
            self.probed.load({name: array for name, array in model.items() if name in names}, kept)
            own = {name: array for name, array in own.items() if not name.startswith(_BELOW)}
        if self._exact is not None:
            self._exact.load({name: array for name, array in model.items() if name not in names}, own)
        self.runtime.load_buffers_(model)

    def receive(self, array: Array) -> Array:
        """Return a received array as one of the client's own, on its device."""
        return self.runtime.receive(array)

    def model(self) -> Mapping[str, Array]:
        """Return what is trained, and the buffers."""
        probed = {} if self.probed is None else self.probed.model()
        exact = {} if self._exact is None else self._exact.parameters()
        return {**probed, **exact, **self.runtime.buffers()}

    def replayed(self) -> tuple[str, ...]:
        """Return the names of theta where scalars determine how it changes."""
        return () if self.probed is None else self.probed.replayed()

    def state(self) -> ClientState:
        """Return the optimiser states, or nothing where every round starts afresh."""
        if not self._learning.client.keep_state:
            return {}
        exact = {} if self._exact is None else self._exact.state()
        probed = {} if self.probed is None else self.probed.state()
        return {**exact} | {f"{self._prefix}{name}": array for name, array in probed.items()}

    def resident(self) -> Mapping[str, Sequence[Array]]:
        """Return what is held between steps: both copies of theta count as parameters, and one of the rest."""
        held = {kind: list(arrays) for kind, arrays in self.runtime.resident().items()}
        if self.probed is not None:
            held["parameters"].append(self.probed.theta.theta)
            held["optimizer_state"] += self.probed.moments()
        return held

    def update_exact(self, key: StepKey) -> None:
        """Take one step of the exact part's update rule, from the gradients that it has."""
        assert self._exact is not None  # asked for by clients that have one
        self._exact.update(self._learning.exact_rate(key.round_index))
