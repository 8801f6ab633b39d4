"""A layer-local client once more, as literally as possible: plain loops over groups, no code of `heron`.

    h_g = f_g(h_{g-1}; v_g),  l_g = loss(head_g(h_g), y)          clean pass of group g; h_{g-1} is data
    exact:         (v_g, w_g) <- descent along d l_g by autograd
    zeroth order:  the same by probes of l_g at (v_g, w_g) + mu u, on copies whose running statistics are thrown away
    exact head:    w_g <- descent along d l_g / d w_g;  v_g by probes of <d l_g / d h_g, f_g(h_{g-1}; v)>

Each group is a client of its own with an optimiser of its own, and seeds of its own: the run seed of group g is
seed("layer group", run seed, g) shifted right by one bit.
"""

import copy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference import boundary
from tests.reference.heron_sfl import rademacher, seed_of

Criterion = boundary.Criterion
Batches = list[tuple[Tensor, Tensor]]


@dataclass
class Group:
    """A group of layers, its head, its way of learning (`exact`, `probes` or `exact head`), and its state."""

    layers: nn.Module
    head: nn.Module
    way: str
    memory: boundary.Memory = field(default_factory=boundary.Memory)
    whole: dict | None = None


def train_round(
    groups: list[Group], criterion: Criterion, batches: Batches, plan: boundary.Plan, where: tuple[int, int]
) -> list[float]:
    """Train all groups in place for one round of one client; returns the last group's clean losses."""
    adams = [starting(group, plan) for group in groups]
    losses = []
    for m, (x, y) in enumerate(batches):
        inputs = x
        for number, (group, adam) in enumerate(zip(groups, adams, strict=True)):
            position = (seed_of("layer group", plan.run_seed, number) >> 1, *where, m)
            step = {"exact": exact_step, "probes": probed_step, "exact head": boundary_step}[group.way]
            inputs, loss = step(group, criterion, inputs, y, plan, position, adam)
        losses.append(loss)
    for group, adam in zip(groups, adams, strict=True):
        group.whole = copy.deepcopy(adam.state_dict()) if adam else None
    return losses


def starting(group: Group, plan: boundary.Plan) -> torch.optim.Adam | None:
    """The optimiser of what is exact, as the client kept it."""
    if group.way != "exact" and group.memory.start is None:
        probed = group.layers if group.way == "exact head" else nn.ModuleList([group.layers, group.head])
        group.memory.start = boundary.flat(probed)
    if plan.optimizer != "adam" or group.way == "probes":
        return None
    parameters = [*(group.layers.parameters() if group.way == "exact" else ()), *group.head.parameters()]
    adam = torch.optim.Adam(parameters, lr=plan.exact_rate)
    if group.whole:
        adam.load_state_dict(copy.deepcopy(group.whole))
    return adam


def exact_step(group, criterion, inputs, y, plan, position, adam) -> tuple[Tensor, float]:
    with torch.random.fork_rng():
        torch.manual_seed(seed_of("dropout", *position))
        outputs = group.layers(inputs)
        loss = criterion(group.head(outputs), y)
    together = nn.ModuleList([group.layers, group.head])
    gradients = torch.autograd.grad(loss, list(together.parameters()))
    boundary.descend(together, list(gradients), plan, adam)
    return outputs.detach(), loss.item()


def probed_step(group, criterion, inputs, y, plan, position, adam) -> tuple[Tensor, float]:
    together = nn.ModuleList([group.layers, group.head])

    def passed(layers: nn.Module, head: nn.Module) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed_of("dropout", *position))
            outputs = layers(inputs)
            return outputs, criterion(head(outputs), y)

    boundary.put(together, boundary.flat(together))
    outputs, clean = passed(group.layers, group.head)
    theta, scalars, directions = boundary.flat(together), [], []
    for probe in range(plan.probes):
        u = rademacher(seed_of("direction", *position, probe), theta.size).numpy()
        moved = copy.deepcopy(together)
        boundary.put(moved, theta + np.float32(plan.mu) * u)
        scalars.append(((passed(*moved)[1] - clean) / plan.mu).numpy())
        directions.append(u)
    group.memory.steps.append((scalars, directions))
    boundary.put(together, boundary.updated(group.memory, plan))
    return outputs, clean.item()


def boundary_step(group, criterion, inputs, y, plan, position, adam) -> tuple[Tensor, float]:
    """The group with the boundary under its head; `outputs` is what the group puts out in the clean pass."""
    boundary.put(group.layers, boundary.flat(group.layers))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed_of("dropout", *position, 0))
        outputs = copy.deepcopy(group.layers)(inputs)
    *front, last = group.head
    below = nn.Sequential(*group.layers, *front)
    pieces = [(inputs, y, 1.0)]
    gradients, deltas, clean, loss = boundary.exact_pass(below, last, criterion, pieces, position)
    boundary.descend(last, gradients, plan, adam)
    theta, scalars, directions = boundary.flat(below), [], []
    for probe in range(plan.probes):
        u = rademacher(seed_of("direction", *position, probe), theta.size).numpy()
        ahead = boundary.surrogate(below, theta + np.float32(plan.mu) * u, pieces, deltas, position)
        scalars.append(np.float32((ahead - clean) / plan.mu))
        directions.append(u)
    group.memory.steps.append((scalars, directions))
    boundary.put(group.layers, boundary.updated(group.memory, plan))
    return outputs, loss
