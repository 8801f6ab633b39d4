"""A private client of layer groups once more, as literally as possible: loops over groups, probes and examples.

    d_igp = ( l_g(x_i; theta_g + mu u_gp) - l_g(x_i; theta_g) ) / mu      one example, one probe at a time
    released = ( sum_i d_i min(1, C / |d_i|) + s C n ) / B                d_i: all d_igp of an example, groups in order
    theta_g <- theta_g - (eta / q) sum_p released_gp u_gp

No code of `heron`; the normal numbers n are given.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference.heron_sfl import rademacher, seed_of


@dataclass(frozen=True)
class Plan:
    """Hyperparameters."""

    rate: float
    mu: float
    probes: int
    clip: float
    noise: float
    expected: int


def private_step(
    groups: list[tuple[nn.Module, nn.Module]],
    criterion: Callable[[Tensor, Tensor], Tensor],
    examples: list[tuple[Tensor, Tensor]],
    plan: Plan,
    place: tuple[int, int, int, int],
    normals: np.ndarray,
) -> tuple[np.ndarray, list[Tensor]]:
    """Take one step in place, `place` = (run, round, client, step); returns what is released, and smashed data."""
    directions = []
    for number, (layers, head) in enumerate(groups):
        own = (seed_of("layer group", place[0], number) >> 1, *place[1:])
        size = sum(parameter.numel() for part in (layers, head) for parameter in part.parameters())
        seeds = [seed_of("direction", *own, probe) for probe in range(plan.probes)]
        directions.append([rademacher(seed, size).double().numpy() for seed in seeds])
    total, smashed = np.zeros(len(groups) * plan.probes), []
    for inputs, label in examples:
        vector, value = [], inputs
        for (layers, head), own in zip(groups, directions, strict=True):
            clean = loss_of(layers, head, criterion, value, label)
            for u in own:
                moved = copy.deepcopy((layers, head))
                move(moved, plan.mu * u)
                vector.append((loss_of(*moved, criterion, value, label) - clean) / plan.mu)
            with torch.no_grad():
                value = layers(value)
        smashed.append(value)
        norm = float(np.linalg.norm(vector))
        total += np.array(vector) * min(1.0, plan.clip / norm)
    released = (total + plan.noise * plan.clip * normals) / plan.expected
    for number, (pair, own) in enumerate(zip(groups, directions, strict=True)):
        scalars = released[number * plan.probes : (number + 1) * plan.probes]
        estimate = sum(scalar * u for scalar, u in zip(scalars, own, strict=True)) / plan.probes
        move(pair, -plan.rate * estimate)
    return released, smashed


def loss_of(layers: nn.Module, head: nn.Module, criterion: Callable, inputs: Tensor, label: Tensor) -> float:
    with torch.no_grad():
        return float(criterion(head(layers(inputs)), label))


def move(pair: tuple[nn.Module, nn.Module], change: np.ndarray) -> None:
    start = 0
    for part in pair:
        for parameter in part.parameters():
            piece = change[start : start + parameter.numel()]
            parameter.data.add_(torch.from_numpy(piece).view(parameter.shape))
            start += parameter.numel()
