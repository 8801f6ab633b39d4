"""HO-SFL and HOSL as literally as possible: plain loops, whole directions, dense models, no code of `heron`.

SGD and one-sided Rademacher probes on clients, SGD on the server. Every client steps its own copy of theta_c and the
copies are averaged, for any form of traffic in the engine.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.reference.baselines import average, descend, take
from tests.reference.heron_sfl import Order, rademacher, seed_of


def lay_out(parameters: list[nn.Parameter]) -> None:
    """Put the parameters into one buffer, as in `heron_sfl`, so that matrix products see the engine's alignment."""
    buffer, start = torch.cat([p.detach().reshape(-1) for p in parameters]), 0
    for p in parameters:
        p.data = buffer[start : start + p.numel()].view(p.shape)
        start += p.numel()


def walk(
    f_c: nn.Module, seeds: list[int], surrogate: Callable[[], Tensor], clean: Tensor, mu: float, rate: float
) -> None:
    """theta_c <- theta_c - (rate / q) sum_p s_p u_p with float32 scalars s_p; every probe at the same theta_c."""
    mine = list(f_c.parameters())
    sizes = [p.numel() for p in mine]
    theta = [p.detach().clone() for p in mine]
    step = [value.clone() for value in theta]
    for seed in seeds:
        u = rademacher(seed, sum(sizes)).to(theta[0].dtype)
        pieces = [piece.view_as(p) for piece, p in zip(torch.split(u, sizes), mine, strict=True)]
        for p, value, piece in zip(mine, theta, pieces, strict=True):
            p.data.copy_(value + mu * piece)
        with torch.no_grad():
            s = ((surrogate() - clean) / mu).float().to(u.dtype)
        for value, piece in zip(step, pieces, strict=True):
            value += (s * (-rate / len(seeds))) * piece
    for p, value in zip(mine, step, strict=True):
        p.data.copy_(value)


def pairing(delta: Tensor, z: Tensor) -> Tensor:
    """<delta, z>: a dot product for each example, their sum in float64."""
    return torch.stack([d.reshape(-1).dot(r.reshape(-1)) for d, r in zip(delta, z, strict=True)]).double().sum()


def hybrid(
    algorithm: str,
    client: nn.Module,
    server: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    weights: list[float],
    rounds: int,
    run_seed: int,
    mu: float,
    probes: int,
    client_rate: float,
    server_rate: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """(theta_c, theta_s) after the rounds of `ho_sfl` or `hosl`."""
    f_s = copy.deepcopy(server)
    theta_c = take(client)
    for t in range(rounds):
        replies = []
        for i in range(len(weights)):
            f_c = copy.deepcopy(client)
            lay_out(list(f_c.parameters()))
            for p, value in zip(f_c.parameters(), theta_c, strict=True):
                p.data.copy_(value)
            for m, chosen in enumerate(order(t, i)):
                x, y = inputs[chosen], labels[chosen]
                with torch.no_grad():
                    z = f_c(x)
                at = z.clone().requires_grad_()
                loss = cross_entropy(f_s(at), y)
                *remote, delta = torch.autograd.grad(loss, [*f_s.parameters(), at])
                if algorithm == "ho_sfl":
                    seeds = [seed_of("direction", run_seed, t, 0, m, p) for p in range(probes)]
                    walk(f_c, seeds, lambda: pairing(delta, f_c(x)), pairing(delta, z), mu, client_rate)  # noqa: B023
                else:
                    seeds = [seed_of("direction", run_seed, t, i, m, p) for p in range(probes)]
                    walk(f_c, seeds, lambda: cross_entropy(f_s(f_c(x)), y), loss.detach(), mu, client_rate)  # noqa: B023
                descend(f_s, tuple(remote), server_rate)
            replies.append(take(f_c))
        theta_c = average(replies, weights)
    return theta_c, take(f_s)
