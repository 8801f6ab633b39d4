"""HO-FL with a boundary of each client's own, as literally as possible; no code of `heron`.

Every client steps a copy of the whole network. Of each number in it the mean is taken over the clients that trained it,
one number at a time.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.reference.baselines import descend, put, take
from tests.reference.heron_sfl import Order, seed_of
from tests.reference.relatives import lay_out, pairing, walk


def fleet_networks(
    layers: nn.Sequential,
    above: list[int],
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
    """Theta after the rounds; of client i `layers[above[i]:]` learn exactly, those before by probes, or not at all."""
    theta = take(layers)
    for t in range(rounds):
        replies, trained = [], []
        for i, first in enumerate(above):
            f = copy.deepcopy(layers)
            put(f, theta)
            bottom, top = f[:first], f[first:]
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
            num_below = len(list(bottom.parameters()))
            trained.append([probes > 0 or place >= num_below for place in range(len(theta))])
        theta = [
            over_whoever_trained(
                theta[place], [reply[place] for reply in replies], [one[place] for one in trained], weights
            )
            for place in range(len(theta))
        ]
    return theta


def over_whoever_trained(before: Tensor, values: list[Tensor], trained: list[bool], weights: list[float]) -> Tensor:
    """The weighted mean of each number over the clients that trained it; as before where nobody did."""
    after = before.clone().reshape(-1)
    for j in range(len(after)):
        total = weight = 0.0
        for value, has_trained, w in zip(values, trained, weights, strict=True):
            if has_trained:
                total += w * float(value.reshape(-1)[j])
                weight += w
        if weight:
            after[j] = total / weight
    return after.reshape(before.shape)
