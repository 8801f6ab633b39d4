"""DeComFL as literally as possible: federated averaging of zeroth-order steps on whole networks, plain loops.

Every client steps a copy of the whole network and the copies are averaged: nobody sends a scalar, and nothing is
replayed.
"""

import copy

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.reference.baselines import average, take
from tests.reference.heron_sfl import Order, seed_of
from tests.reference.relatives import lay_out, walk


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
