"""The seam below a client: whatever computes its network, PyTorch here, an exported graph on a device without it.

A runtime holds the client's part of the network, and the auxiliary network or other head that its local loss is
computed with. Its parameters learn in two ways: those of `theta` from probes, those of `exact` from gradients; either
may be absent. Every pass computes with `theta.work`, which a probe has perturbed. Batches, smashed data and losses are
arrays of the runtime's own kind; what it is given may be of either kind.

`B` examples of a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from heron.arrays import Array
from heron.data import Batch
from heron.seeds import StepKey
from heron.zo.flat import FlatArrays

Head = Literal["auxiliary", "server"]
"""The part that a client computes its local loss with: the auxiliary network, or the rest of the network itself."""


@dataclass(frozen=True)
class Orders:
    """The order in which each module of a client learns.

    Attributes:
        exact: number of modules with parameters, counted from the client's end, the head first, that learn from exact
            gradients; `all` for every one, `device` while it is open which client is asked for.
        probes: whether the modules below learn from probes; they stay as they are where not.
        head: whether the head learns, too; its parameters stay as received where not.
        groups: number of layer groups, each of which learns from a loss of its own; 0 for as many as there are, None
            where all modules learn from one loss. `exact` of 1 is then every head.
        above: number of modules, counted like `exact`, that are the last group whatever they are; 0 and 1 for none.
    """

    exact: int | Literal["all", "device"] = 0
    probes: bool = False
    head: bool = True
    groups: int | None = None
    above: int = 0


@dataclass(frozen=True)
class Surrogate:
    """The linear surrogate of everything above an order boundary: L(v) = <delta, f_below(x; v)>.

    Attributes:
        anchor: L at the clean parameters, shape ().
        loss: computes L at `theta.work`, shape ().
    """

    anchor: Array
    loss: Callable[[], Array]


@dataclass(frozen=True)
class Finished:
    """Outcome of an exact pass.

    Attributes:
        loss: the local loss, shape (); None for a client without one.
        surrogate: for the modules below the boundary, where these learn from probes.
    """

    loss: Array | None
    surrogate: Surrogate | None = None


class ExactPass(Protocol):
    """One clean pass of a client with an exactly trained part: the smashed data leave first, then it learns."""

    def take_smashed(self) -> Array:
        """Return the smashed data, shape (B, ...), once: the pass holds them no longer."""
        ...

    def finish(self, gradient: Array | None = None) -> Finished:
        """Compute the gradients of the exact part; `ExactPart.update` uses them.

        Args:
            gradient: d loss / d z from the Main Server, shape (B, ...), for a client without a loss of its own.
        """
        ...


class ExactPart(Protocol):
    """The parameters of a client that learn from exact gradients."""

    def forward(self, batch: Batch, key: StepKey) -> ExactPass:
        """Run a clean pass; running statistics follow it.

        Args:
            batch: B examples.
            key: the step's place in the run, for seeds.

        Returns:
            The pass, whose smashed data are taken before it is finished.
        """
        ...

    def update(self, learning_rate: float) -> None:
        """Take one step of the update rule and release the gradients."""
        ...

    def load(self, model: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Copy parameters from a received model and continue from a kept optimiser state, or from none.

        Args:
            model: received arrays by name.
            state: a result of `state`; empty for a new optimiser.
        """
        ...

    def parameters(self) -> Mapping[str, Array]:
        """Return the trained parameters by name; views that the next step changes."""
        ...

    def state(self) -> Mapping[str, Array]:
        """Return the optimiser's arrays by name."""
        ...


GroupsPass = Callable[[Batch, Sequence[StepKey]], ExactPass]
"""Starts one clean pass through all layer groups of a client, given B examples and the step's place for each group."""


@dataclass(frozen=True)
class LayerGroup:
    """A group of a client's layers with a head of its own: a small client that learns on what the group below puts out.

    Attributes:
        runtime: its network.
        names: names of its parameters and buffers in the client's network, by its own.
    """

    runtime: "Runtime"
    names: Mapping[str, str]


class Runtime(Protocol):
    """A client's network on its device."""

    @property
    def groups(self) -> Sequence[LayerGroup]:
        """Layer groups that learn from losses of their own, from the input up; empty where all learn from one.

        Where there are some, they have what learns, and neither `theta` nor `exact` is there.
        """
        ...

    @property
    def groups_pass(self) -> GroupsPass | None:
        """Pass through all groups in micro-batches; None where a group probes, and where batches are not divided."""
        ...

    @property
    def theta(self) -> FlatArrays[Any] | None:
        """Parameters that learn from probes, as one flat vector in two copies; None where none do."""
        ...

    @property
    def exact(self) -> ExactPart | None:
        """The exactly trained part; None where nothing is."""
        ...

    def clean(self, batch: Batch, seed: int) -> tuple[Array, Array]:
        """Run a clean pass, which running statistics follow.

        Args:
            batch: B examples.
            seed: seed of Dropout masks; every pass of a step has the same.

        Returns:
            Smashed data, shape (B, ...), and the local loss, shape ().
        """
        ...

    def smash(self, batch: Batch, seed: int) -> Array:
        """Compute smashed data, shape (B, ...); running statistics follow, unless a probe is under way.

        Args:
            batch: B examples.
            seed: seed of Dropout masks; every pass of a step has the same.
        """
        ...

    def loss(self, batch: Batch, seed: int) -> Array:
        """Compute the local loss of a probe, shape (); arguments as of `clean`."""
        ...

    def losses(self, batch: Batch, seed: int) -> Array:
        """Compute the local loss of every example, shape (B,); arguments as of `clean`.

        Raises:
            ConfigError: if the criterion gives a mean alone.
        """
        ...

    def clean_losses(self, batch: Batch, seed: int) -> tuple[Array, Array]:
        """Compute smashed data and, in the same pass, the losses of all examples; arguments as of `clean`.

        Returns:
            Smashed data, shape (B, ...), and the local losses, shape (B,).
        """
        ...

    def anchor(self, delta: Array, smashed: Array) -> Array:
        """Compute <delta, z>, the surrogate at the clean parameters, shape ().

        Args:
            delta: gradient at the cut, shape (B, ...).
            smashed: z of the clean pass, shape (B, ...).
        """
        ...

    def surrogate(self, batch: Batch, seed: int, delta: Array) -> Array:
        """Compute <delta, f_c(x)> at `theta.work`, shape ().

        Args:
            batch: B examples.
            seed: seed of Dropout masks; every pass of a step has the same.
            delta: gradient at the cut, shape (B, ...).
        """
        ...

    def receive(self, array: Array) -> Array:
        """Return an array as one of the runtime's own kind, on its device."""
        ...

    def buffers(self) -> Mapping[str, Array]:
        """Return buffers that travel and are averaged, such as running statistics, by name; the arrays themselves."""
        ...

    def load_buffers_(self, model: Mapping[str, Array]) -> None:
        """Copy every buffer from a received model.

        Raises:
            MessageError: if one is absent or has another shape.
        """
        ...

    def tensors(self) -> Mapping[str, Array]:
        """Return everything that training can change, parameters and buffers by name; the arrays themselves."""
        ...

    def resident(self) -> Mapping[str, Sequence[Array]]:
        """Return arrays held between steps, under the keys `parameters`, `buffers` and `optimizer_state`."""
        ...
