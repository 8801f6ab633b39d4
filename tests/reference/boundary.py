"""A client with an order boundary once more, as literally as possible: plain loops, no code of `heron`.

    r = below(x; v),  l = loss(above(r; w), y)       clean pass
    w <- w - eta_w * d l / d w,  delta = d l / d r   by autograd
    L(v) = <delta, below(x; v)>                      at v + mu u, on a copy whose running statistics are thrown away

Directions of zeroth order are arrays of +1 and -1 written out in full; v is recomputed from the first step of its
optimiser by the NumPy rules of `rules`.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference import rules
from tests.reference.heron_sfl import lay_out, rademacher, seed_of

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Plan:
    """Hyperparameters."""

    optimizer: str
    rate: float
    exact_rate: float
    mu: float = 1e-2
    probes: int = 1
    central: bool = False
    micro_batch: int | None = None
    run_seed: int = 5


@dataclass
class Memory:
    """A client's state: v at the start of its optimiser and every step since; Adam's state of the part above."""

    start: np.ndarray | None = None
    steps: list[rules.Step] = field(default_factory=list)
    above: dict | None = None


def train_round(
    below: nn.Module,
    above: nn.Module,
    criterion: Criterion,
    batches: list[tuple[Tensor, Tensor]],
    plan: Plan,
    where: tuple[int, int],
    memory: Memory,
) -> list[float]:
    """Train both parts in place for one round of one client, `where` = (round, client); returns the clean losses."""
    adam = torch.optim.Adam(above.parameters(), lr=plan.exact_rate) if plan.optimizer == "adam" else None
    if adam and memory.above:
        adam.load_state_dict(copy.deepcopy(memory.above))
    if memory.start is None:
        memory.start, memory.steps = flat(below), []
    put(below, flat(below))
    losses = []
    for m, (x, y) in enumerate(batches):
        position = (plan.run_seed, *where, m)
        pieces = split(x, y, plan.micro_batch)
        gradients, deltas, clean, loss = exact_pass(below, above, criterion, pieces, position)
        losses.append(loss)
        descend(above, gradients, plan, adam)
        directions = [
            rademacher(seed_of("direction", *position, probe), memory.start.size).numpy()
            for probe in range(plan.probes)
        ]
        theta, scalars = flat(below), []
        for u in directions:
            ahead = surrogate(below, theta + np.float32(plan.mu) * u, pieces, deltas, position)
            if plan.central:
                behind = surrogate(below, theta + np.float32(-plan.mu) * u, pieces, deltas, position)
                scalars.append(np.float32((ahead - behind) / (2 * plan.mu)))
            else:
                scalars.append(np.float32((ahead - clean) / plan.mu))
        memory.steps.append((scalars, directions))
        put(below, updated(memory, plan))
    memory.above = copy.deepcopy(adam.state_dict()) if adam else None
    return losses


def exact_pass(
    below: nn.Module,
    above: nn.Module,
    criterion: Criterion,
    pieces: list[tuple[Tensor, Tensor, float]],
    position: tuple[int, ...],
) -> tuple[list[Tensor], list[Tensor], float, float]:
    """(d l / d w, delta of every piece, <delta, r> summed, l): the one pass that running statistics follow."""
    total: list[Tensor] = []
    deltas, clean, losses = [], [], []
    for index, (x, y, share) in enumerate(pieces):
        with torch.random.fork_rng():
            torch.manual_seed(seed_of("dropout", *position, index))
            with torch.no_grad():
                r = below(x)
            at = r.clone().requires_grad_()
            loss = criterion(above(at), y) * share
        delta, *found = torch.autograd.grad(loss, [at, *above.parameters()])
        total = [t + g for t, g in zip(total, found, strict=True)] if total else found
        deltas.append(delta)
        clean.append(inner(delta, r))
        losses.append(loss.item())
    return total, deltas, float(sum(clean)), sum(losses)


def surrogate(
    below: nn.Module,
    theta: np.ndarray,
    pieces: list[tuple[Tensor, Tensor, float]],
    deltas: list[Tensor],
    position: tuple[int, ...],
) -> float:
    """L at theta, on a copy of the part below."""
    probe, total = copy.deepcopy(below), 0.0
    put(probe, theta)
    for index, ((x, _, _), delta) in enumerate(zip(pieces, deltas, strict=True)):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed_of("dropout", *position, index))
            total += inner(delta, probe(x))
    return total


def inner(delta: Tensor, r: Tensor) -> float:
    """Sum per example in the activations' precision (in the matrix product's order), then in double."""
    rows = torch.bmm(delta.reshape(len(r), 1, -1), r.reshape(len(r), -1, 1))
    return float(rows.double().sum())


def split(x: Tensor, y: Tensor, size: int | None) -> list[tuple[Tensor, Tensor, float]]:
    size = size or len(x)
    return [(x[i : i + size], y[i : i + size], len(y[i : i + size]) / len(y)) for i in range(0, len(x), size)]


def descend(above: nn.Module, gradients: list[Tensor], plan: Plan, adam: torch.optim.Adam | None) -> None:
    for p, g in zip(above.parameters(), gradients, strict=True):
        p.grad = g
        if adam is None:
            with torch.no_grad():
                p.add_(g, alpha=-plan.exact_rate)
    if adam is not None:
        adam.step()


def updated(memory: Memory, plan: Plan) -> np.ndarray:
    if plan.optimizer == "sgd":
        return rules.sgd(memory.start, memory.steps, learning_rate=plan.rate)
    return rules.adam(memory.start, memory.steps, learning_rate=plan.rate, beta1=0.9, beta2=0.999, epsilon=1e-8)


def flat(module: nn.Module) -> np.ndarray:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy().copy()


def put(module: nn.Module, theta: np.ndarray) -> None:
    """Parameters <- theta, one after the other in one buffer."""
    lay_out(list(module.parameters()))
    start = 0
    for p in module.parameters():
        p.data.copy_(torch.from_numpy(theta[start : start + p.numel()]).view(p.shape))
        start += p.numel()
