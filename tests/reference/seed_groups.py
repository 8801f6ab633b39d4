"""HERON-SFL whose clients share directions in groups, as literally as possible: every client's model, then their mean.

SGD and one-sided Rademacher probes on clients, SGD on the server; scalars are rounded to float32 as they are sent.
No code of `heron`: of the engine's sums of scalars nothing is here.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.reference.baselines import average, descend, take
from tests.reference.heron_sfl import Order, rademacher, seed_of
from tests.reference.relatives import lay_out, walk


def heron_in_groups(
    client: nn.Module,
    auxiliary: nn.Module,
    server: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    groups: int,
    weights: list[float],
    rounds: int,
    run_seed: int,
    mu: float,
    probes: int,
    client_rate: float,
    server_rate: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """(theta_l, theta_s) after the rounds; client i walks along the directions of group i mod `groups`, 0: its own."""
    f_s = copy.deepcopy(server)
    theta_l = take(nn.Sequential(client, auxiliary))
    for t in range(rounds):
        replies = []
        for i in range(len(weights)):
            f_l = copy.deepcopy(nn.Sequential(client, auxiliary))
            lay_out(list(f_l.parameters()))
            for p, value in zip(f_l.parameters(), theta_l, strict=True):
                p.data.copy_(value)
            whose = i % groups if groups else i
            for m, chosen in enumerate(order(t, i)):
                x, y = inputs[chosen], labels[chosen]
                with torch.no_grad():
                    z = f_l[0](x)
                    clean = cross_entropy(f_l[1](z), y)
                remote = torch.autograd.grad(cross_entropy(f_s(z), y), list(f_s.parameters()))
                descend(f_s, remote, server_rate)
                seeds = [seed_of("direction", run_seed, t, whose, m, p) for p in range(probes)]
                walk(f_l, seeds, lambda: cross_entropy(f_l(x), y), clean, mu, client_rate)  # noqa: B023
            replies.append(take(f_l))
        theta_l = average(replies, weights)
    return theta_l, take(f_s)


def averaged_walks(
    theta: Tensor, walks: list[tuple[int, float, list[list[float]]]], *, run_seed: int, round_index: int, rate: float
) -> Tensor:
    """Mean of what clients became that started from `theta`, shape (d,); a walk: (group, weight, steps of scalars)."""
    total = torch.zeros_like(theta)
    for group, weight, steps in walks:
        mine = theta.clone()
        for m, scalars in enumerate(steps):
            for p, s in enumerate(scalars):
                u = rademacher(seed_of("direction", run_seed, round_index, group, m, p), len(theta)).to(theta.dtype)
                mine -= rate / len(scalars) * s * u
        total += weight * mine
    return total / sum(weight for _, weight, _ in walks)
