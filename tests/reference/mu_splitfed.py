"""MU-SplitFed as literally as possible: plain loops, whole directions, dense models, no code of `heron`.

SGD and central Rademacher probes on both sides; every client steps its own copy of theta_c and of theta_s.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.reference.baselines import average, take
from tests.reference.heron_sfl import Order, rademacher, seed_of
from tests.reference.relatives import lay_out


def placed(f: nn.Module, theta: list[Tensor]) -> None:
    for p, value in zip(f.parameters(), theta, strict=True):
        p.data.copy_(value)


def along(theta: list[Tensor], seed: int, scale: float | Tensor) -> list[Tensor]:
    """theta + scale * u, as new tensors."""
    sizes = [value.numel() for value in theta]
    u = rademacher(seed, sum(sizes)).to(theta[0].dtype)
    return [v + scale * piece.view_as(v) for v, piece in zip(theta, torch.split(u, sizes), strict=True)]


def difference(score: Callable[[int], Tensor], mu: float) -> Tensor:
    """[ l(+) - l(-) ] / 2 mu of the losses on both sides."""
    with torch.no_grad():
        return (score(1) - score(-1)) / (2 * mu)


def mu_splitfed(
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
    tau: int,
    client_rate: float,
    server_rate: float,
    global_rate: float = 1.0,
    joint: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """(theta_c, theta_s) after the rounds."""
    f_c, f_s = copy.deepcopy(client), copy.deepcopy(server)
    lay_out(list(f_c.parameters()))
    lay_out(list(f_s.parameters()))
    theta_c, theta_s = take(f_c), take(f_s)
    for t in range(rounds):
        clients, servers = [], []
        for i in range(len(weights)):
            mine, theirs = theta_c, theta_s
            for m, chosen in enumerate(order(t, i)):
                x, y = inputs[chosen], labels[chosen]
                placed(f_c, mine)
                z = f_c(x).detach()
                for n in range(tau):
                    seed = seed_of("server direction", run_seed, t, i, m, n)

                    def scored(sign: int) -> Tensor:
                        placed(f_s, along(theirs, seed, sign * mu))  # noqa: B023
                        return cross_entropy(f_s(z), y)  # noqa: B023

                    theirs = along(theirs, seed, -server_rate * difference(scored, mu))
                step = mine
                for probe in range(probes):
                    seed = seed_of("direction", run_seed, t, i, m, probe)

                    def sent(sign: int) -> Tensor:
                        placed(f_c, along(mine, seed, sign * mu))  # noqa: B023
                        ahead = seed_of("server probe", run_seed, t, i, m, probe)  # noqa: B023
                        placed(f_s, along(theirs, ahead, sign * mu) if joint else theirs)  # noqa: B023
                        return cross_entropy(f_s(f_c(x)), y).float()  # noqa: B023

                    s = difference(sent, mu).to(step[0].dtype)
                    step = along(step, seed, -client_rate / probes * s)
                mine = step
            clients.append(mine)
            servers.append(theirs)
        theta_c = [old + global_rate * (new - old) for old, new in zip(theta_c, average(clients, weights), strict=True)]
        theta_s = [old + global_rate * (new - old) for old, new in zip(theta_s, average(servers, weights), strict=True)]
    return theta_c, theta_s
