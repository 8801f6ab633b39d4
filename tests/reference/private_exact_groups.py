"""A private client of layer groups with exact gradients once more, as literally as possible: loops over examples.

    g_ig = d loss( head_g(f_g(h; theta_g)), y_i ) / d theta_g     h: outputs of the group below for example i, detached
    released = ( sum_i g_i min(1, C / |g_i|) + s C n ) / B         g_i: all g_ig of an example, groups in order
    theta_g <- theta_g - eta released_g

No code of `heron`; the normal numbers n are given.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference.private_groups import Plan, move


def private_exact_step(
    groups: list[tuple[nn.Module, nn.Module]],
    criterion: Callable[[Tensor, Tensor], Tensor],
    examples: list[tuple[Tensor, Tensor]],
    plan: Plan,
    normals: np.ndarray,
) -> tuple[np.ndarray, list[Tensor]]:
    """Take one step in place; returns what is released, and smashed data."""
    total, smashed = np.zeros(len(normals)), []
    for inputs, label in examples:
        vector, value = [], inputs
        for pair in groups:
            layers, head = pair
            outputs = layers(value)
            own = [parameter for part in pair for parameter in part.parameters()]
            gradients = torch.autograd.grad(criterion(head(outputs), label), own)
            vector += [gradient.flatten().numpy() for gradient in gradients]
            value = outputs.detach()
        smashed.append(value)
        gradient = np.concatenate(vector)
        total += gradient * min(1.0, plan.clip / float(np.linalg.norm(gradient)))
    released = (total + plan.noise * plan.clip * normals) / plan.expected
    start = 0
    for pair in groups:
        size = sum(parameter.numel() for part in pair for parameter in part.parameters())
        move(pair, -plan.rate * released[start : start + size])
        start += size
    return released, smashed
