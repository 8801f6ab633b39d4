"""DeComFL and HO-FL as literally as possible: federated averaging of steps on whole networks, plain loops.

Every client steps a copy of the whole network and the copies are averaged: nobody sends a scalar, and nothing is
replayed.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.reference.baselines import average, descend, put, take
from tests.reference.heron_sfl import Order, seed_of
from tests.reference.relatives import lay_out, pairing, walk


def averaged_networks(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    weights: list[float],
    rounds: int,
    run_seed: int,
    mu: float,
    probes: int,
    rate: float,
) -> list[Tensor]:
    """Theta after the rounds."""
    theta = take(network)
    for t in range(rounds):
        replies = []
        for i in range(len(weights)):
            f = copy.deepcopy(network)
            lay_out(list(f.parameters()))
            for p, value in zip(f.parameters(), theta, strict=True):
                p.data.copy_(value)
            for m, chosen in enumerate(order(t, i)):
                x, y = inputs[chosen], labels[chosen]
                seeds = [seed_of("direction", run_seed, t, 0, m, p) for p in range(probes)]
                clean = cross_entropy(f(x), y).detach()
                walk(f, seeds, lambda: cross_entropy(f(x), y), clean, mu, rate)  # noqa: B023
            replies.append(take(f))
        theta = average(replies, weights)
    return theta


def boundary_networks(
    layers: nn.Sequential,
    above: int,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    weights: list[float],
    rounds: int,
    run_seed: int,
    mu: float,
    probes: int,
    rate: float,
) -> list[Tensor]:
    """HO-FL: theta after the rounds; `layers[above:]` learn exactly, those before by probes of the linear surrogate.

    Without probes they stay as they are. Each client has directions of its own.
    """
    theta = take(layers)
    for t in range(rounds):
        replies = []
        for i in range(len(weights)):
            f = copy.deepcopy(layers)
            put(f, theta)
            bottom, top = f[:above], f[above:]
            lay_out(list(bottom.parameters()))
            for m, chosen in enumerate(order(t, i)):
                x, y = inputs[chosen], labels[chosen]
                r = bottom(x).detach().requires_grad_()
                *gradients, delta = torch.autograd.grad(cross_entropy(top(r), y), [*top.parameters(), r])
                descend(top, tuple(gradients), rate)
                if probes:
                    seeds = [seed_of("direction", run_seed, t, i, m, p) for p in range(probes)]
                    clean = pairing(delta, r.detach())
                    walk(bottom, seeds, lambda: pairing(delta, bottom(x)), clean, mu, rate)  # noqa: B023
            replies.append(take(f))
        theta = average(replies, weights)
    return theta
