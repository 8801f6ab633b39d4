"""Clients whose layers learn in groups, each from a loss of its own: no gradient crosses a group.

A group of layers with its head is a small client, whose examples are what the group below puts out. It makes its clean
pass, hands its outputs on and learns, by any order, before the next group begins: one group's activations are alive at
a time. Where all learn exactly and batches are divided, a micro-batch goes through all groups instead, and they learn
at the end. The last group's outputs are the smashed data, its head is the auxiliary network.

    h_0 = x,   h_g = f_g(h_{g-1}; theta_g),   l_g = loss(head_g(h_g), y),   theta_g <- theta_g - eta grad_{theta_g} l_g

Noekland and Eidnes, "Training neural networks with local error signals", ICML 2019 (arXiv 1901.06656); Belilovsky,
Eickenberg and Oyallon, "Greedy layerwise learning can scale to ImageNet", ICML 2019 (arXiv 1812.11446).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from heron.arrays import Array
from heron.client.round import finish
from heron.client.runtime import GroupsPass, LayerGroup, Runtime
from heron.client.step import ClientLearner, ClientState, Perturbed, StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey, derive_seed


class GroupLearner(ClientLearner, Protocol):
    """The learner of one group, which learns exactly, from probes, or both."""

    def update_exact(self, key: StepKey) -> None:
        """Take one step of the exact part's update rule, from the gradients that it has."""
        ...


Own = TypeVar("Own", bound=GroupLearner)


class LayerLocalClient(Generic[Own]):
    """A client of layer groups.

    Args:
        runtime: the client's network, in layer groups.
        make_client: makes the learner of one group.
    """

    def __init__(self, runtime: Runtime, make_client: Callable[[Runtime], Own]) -> None:
        self._groups = [(make_client(group.runtime), group.names) for group in runtime.groups]
        self._order = _order(runtime.groups)
        self._pass = runtime.groups_pass

    def load(self, model: Mapping[str, Array], state: ClientState) -> None:
        """Take every group's parameters, buffers and optimiser state.

        Args:
            model: received arrays by name.
            state: what the client kept; empty before its first round.
        """
        for number, (learner, names) in enumerate(self._groups):
            prefix = _prefix(number)
            own = {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
            learner.load({name: model[whole] for name, whole in names.items() if whole in model}, own)

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one local step; only the last group's outputs leave."""
        if self._pass is not None:
            result = yield from self._step_by_pieces(self._pass, batch, key)
            return result
        *lower, (last, _) = self._groups
        for number, (learner, _) in enumerate(lower):
            step = learner.step(batch, group_key(number, key))
            outputs = next(step)
            assert outputs is not None
            assert not isinstance(outputs, Perturbed)
            finish(step)
            batch = Batch(outputs, batch.labels)
            del step, outputs
        result = yield from last.step(batch, group_key(len(lower), key))
        return result

    def _step_by_pieces(self, start: GroupsPass, batch: Batch, key: StepKey) -> StepGenerator:
        clean = start(batch, [group_key(number, key) for number in range(len(self._groups))])
        yield clean.take_smashed()
        finished = clean.finish()
        for learner, _ in self._groups:
            learner.update_exact(key)
        return StepResult(finished.loss)

    def receive(self, array: Array) -> Array:
        """Return a received array as one of the client's own, on its device."""
        return self._groups[0][0].receive(array)

    def model(self) -> Mapping[str, Array]:
        """Return what is trained, and the buffers."""
        held = {names[name]: array for learner, names in self._groups for name, array in learner.model().items()}
        return {name: held[name] for name in self._order if name in held}

    def replayed(self) -> tuple[str, ...]:
        """Return nothing: a group has scalars of its own, and one walk does not hold them."""
        return ()

    def state(self) -> ClientState:
        """Return the optimiser states of all groups, or nothing where every round starts afresh."""
        return {
            f"{_prefix(number)}{name}": array
            for number, (learner, _) in enumerate(self._groups)
            for name, array in learner.state().items()
        }

    def resident(self) -> Mapping[str, Sequence[Array]]:
        """Return what is held between steps by all groups."""
        held: dict[str, list[Array]] = {}
        for learner, _ in self._groups:
            for kind, arrays in learner.resident().items():
                held.setdefault(kind, []).extend(arrays)
        return held


def _order(groups: Sequence[LayerGroup]) -> list[str]:
    """Names in the order of the terms: what learns from probes in any group, what learns exactly, the buffers."""
    order: list[str] = []
    for group in groups:
        order += [
            group.names[name] for name in ({} if group.runtime.theta is None else group.runtime.theta.named_tensors())
        ]
    for group in groups:
        order += [
            group.names[name] for name in ({} if group.runtime.exact is None else group.runtime.exact.parameters())
        ]
    return order + [group.names[name] for group in groups for name in group.runtime.buffers()]


def _prefix(number: int) -> str:
    return f"group{number}/"


def group_key(number: int, key: StepKey) -> StepKey:
    """Give a group randomness of its own: directions and masks of two groups have nothing in common.

    Args:
        number: of the group, from 0 at the input.
        key: the client's place in the run.
    """
    return replace(key, run_seed=derive_seed("layer group", key.run_seed, number) >> 1)
