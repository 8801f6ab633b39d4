"""FedKSeed as literally as possible: plain loops, every client steps a copy of the whole network.

The copies are averaged. Nobody sends a sum and nothing is replayed; the bins are kept beside the networks, to be
compared with them. Central differences, SGD, Rademacher directions of K fixed seeds.
"""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.reference.baselines import average, take
from tests.reference.heron_sfl import Order, rademacher, seed_of
from tests.reference.relatives import lay_out


def drawn(run_seed: int, place: tuple[int, int, int, int], p: list[float] | None, K: int) -> int:
    """The candidate of one probe; `place` is round, client, local step, probe."""
    value = seed_of("candidate draw", run_seed, *place)
    if p is None:
        return value % K
    total, passed = math.fsum(p), 0.0
    for j in range(K):
        passed += p[j]
        if value / 2**64 * total < passed:
            return j
    return K - 1


def importance(magnitude: list[float], count: list[int]) -> list[float]:
    """Softmax of the mean |s| of each bin, normalised to [0, 1]; bins without a draw have the mean of the others."""
    means = [m / n if n else None for m, n in zip(magnitude, count, strict=True)]
    known = [m for m in means if m is not None]
    filled = [sum(known) / len(known) if m is None else m for m in means]
    low, high = min(filled), max(filled)
    weights = [math.exp((m - low) / (high - low)) for m in filled]
    # The probabilities are sent as float32.
    return [float(torch.tensor(w / sum(weights), dtype=torch.float32)) for w in weights]


def stepwise_networks(
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
    K: int,
    pro: bool = False,
) -> tuple[list[Tensor], list[float]]:
    """Theta and the bins after the rounds; bins are means over the clients, as theta is."""
    theta = take(network)
    sizes = [p.numel() for p in theta]
    u = [rademacher(seed_of("candidate", run_seed, j), sum(sizes)).to(theta[0].dtype) for j in range(K)]
    bins, magnitude, count = [0.0] * K, [0.0] * K, [0] * K
    for t in range(rounds):
        p = importance(magnitude, count) if pro and t else None
        replies = []
        for i in range(len(weights)):
            f = copy.deepcopy(network)
            lay_out(list(f.parameters()))
            here = [value.clone() for value in theta]
            for m, chosen in enumerate(order(t, i)):
                x, y = inputs[chosen], labels[chosen]
                step = [value.clone() for value in here]
                for probe in range(probes):
                    j = drawn(run_seed, (t, i, m, probe), p, K)
                    pieces = [piece.view_as(v) for piece, v in zip(torch.split(u[j], sizes), here, strict=True)]
                    losses = []
                    for sign in (1, -1):
                        for parameter, value, piece in zip(f.parameters(), here, pieces, strict=True):
                            parameter.data.copy_(value + sign * mu * piece)
                        with torch.no_grad():
                            losses.append(cross_entropy(f(x), y))
                    s = ((losses[0] - losses[1]) / (2 * mu)).float().to(here[0].dtype)
                    for value, piece in zip(step, pieces, strict=True):
                        value -= rate / probes * s * piece
                    bins[j] += float(s) / probes * weights[i] / sum(weights)
                    magnitude[j] += abs(float(s))
                    count[j] += 1
                here = step
            replies.append(here)
        theta = average(replies, weights)
    return theta, bins


def from_bins(start: list[Tensor], bins: list[float], rate: float, run_seed: int) -> list[Tensor]:
    """theta_0 - rate * sum_j bin_j u_j."""
    sizes = [p.numel() for p in start]
    total = torch.zeros(sum(sizes), dtype=torch.float64)
    for j, value in enumerate(bins):
        total += value * rademacher(seed_of("candidate", run_seed, j), sum(sizes)).double()
    pieces = torch.split(total, sizes)
    return [(p.double() - rate * piece.view_as(p)).to(p.dtype) for p, piece in zip(start, pieces, strict=True)]
