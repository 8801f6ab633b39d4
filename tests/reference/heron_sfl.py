"""HERON-SFL and CSE-FSL once more, as literally as possible: plain loops, whole directions, no code of `heron`.

The engine must give the same parameters. Only the order of the data is taken from outside. First-order steps are
written `p.add_(g, alpha=-rate)` because torch's SGD rounds once where `p - rate * g` rounds twice.
"""

import copy
import hashlib
import struct
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

MASK = (1 << 64) - 1
Order = Callable[[int, int], list[list[int]]]
"""(round, client) -> the examples of each local step."""
Refresh = Callable[[int, nn.Module, nn.Module, list[tuple[Tensor, Tensor]]], None]
"""(round, f_a, f_s, last z and y of each client): what the server does to the averaged f_a."""


def seed_of(domain: str, *fields: int) -> int:
    name = domain.encode()
    key = bytes([len(name)]) + name + b"".join(struct.pack("<q", field) for field in fields)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, person=b"heron/seeds/v1").digest(), "little")


def splitmix64(seed: int, n: int) -> int:
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def rademacher(seed: int, d: int) -> Tensor:
    return torch.tensor([1.0 - 2.0 * (splitmix64(seed, i // 64) >> (i % 64) & 1) for i in range(d)])


def heron_sfl(
    client: nn.Module,
    auxiliary: nn.Module,
    server: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    num_clients: int,
    rounds: int,
    run_seed: int,
    mu: float,
    probes: int,
    client_rate: float,
    server_rate: float,
    refresh: Refresh = lambda *_: None,
) -> tuple[list[Tensor], list[Tensor]]:
    """(theta_l, theta_s) after the rounds: SGD and one-sided Rademacher probes on clients, SGD on the server."""
    server = copy.deepcopy(server)
    theta_l = [p.detach().clone() for p in [*client.parameters(), *auxiliary.parameters()]]
    for t in range(rounds):
        replies, stored = [], []
        for i in range(num_clients):
            f_c, f_a = copy.deepcopy(client), copy.deepcopy(auxiliary)
            mine = [*f_c.parameters(), *f_a.parameters()]
            lay_out(mine)
            for p, value in zip(mine, theta_l, strict=True):
                p.data.copy_(value)
            d = sum(p.numel() for p in mine)
            for m, chosen in enumerate(order(t, i)):
                x, y = inputs[chosen], labels[chosen]
                with torch.no_grad():
                    z = f_c(x)
                    clean = cross_entropy(f_a(z), y)
                # Main Server: one step of backpropagation from z.
                loss = cross_entropy(server(z), y)
                gradients = torch.autograd.grad(loss, list(server.parameters()))
                with torch.no_grad():
                    for p, g in zip(server.parameters(), gradients, strict=True):
                        p.add_(g, alpha=-server_rate)
                # Client: q probes, all at the same theta, then one update.
                theta = [p.detach().clone() for p in mine]
                step = [value.clone() for value in theta]
                for probe in range(probes):
                    u = rademacher(seed_of("direction", run_seed, t, i, m, probe), d)
                    pieces = [
                        piece.view_as(p)
                        for piece, p in zip(torch.split(u, [p.numel() for p in mine]), mine, strict=True)
                    ]
                    for p, value, piece in zip(mine, theta, pieces, strict=True):
                        p.data.copy_(value + mu * piece)
                    with torch.no_grad():
                        perturbed = cross_entropy(f_a(f_c(x)), y)
                    s = (perturbed - clean) / mu
                    for value, piece in zip(step, pieces, strict=True):
                        value += (s * (-client_rate / probes)) * piece
                for p, value in zip(mine, step, strict=True):
                    p.data.copy_(value)
            replies.append([p.detach().clone() for p in mine])
            stored.append((z, y))
        theta_l = [mean(values) for values in zip(*replies, strict=True)]
        theta_l = refreshed(refresh, t, theta_l, auxiliary, server, stored)
    return theta_l, [p.detach() for p in server.parameters()]


def cse_fsl(
    client: nn.Module,
    auxiliary: nn.Module,
    server: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    num_clients: int,
    rounds: int,
    client_rate: float,
    server_rate: float,
    refresh: Refresh = lambda *_: None,
) -> tuple[list[Tensor], list[Tensor]]:
    """(theta_l, theta_s) after the rounds: SGD by plain autograd everywhere."""
    server = copy.deepcopy(server)
    theta_l = [p.detach().clone() for p in [*client.parameters(), *auxiliary.parameters()]]
    for t in range(rounds):
        replies, stored = [], []
        for i in range(num_clients):
            f_c, f_a = copy.deepcopy(client), copy.deepcopy(auxiliary)
            mine = [*f_c.parameters(), *f_a.parameters()]
            for p, value in zip(mine, theta_l, strict=True):
                p.data = value.clone()
            for chosen in order(t, i):
                x, y = inputs[chosen], labels[chosen]
                z = f_c(x)
                local = torch.autograd.grad(cross_entropy(f_a(z), y), mine)
                remote = torch.autograd.grad(cross_entropy(server(z.detach()), y), list(server.parameters()))
                with torch.no_grad():
                    for p, g in zip(mine, local, strict=True):
                        p.add_(g, alpha=-client_rate)
                    for p, g in zip(server.parameters(), remote, strict=True):
                        p.add_(g, alpha=-server_rate)
            replies.append([p.detach().clone() for p in mine])
            stored.append((z.detach(), y))
        theta_l = [mean(values) for values in zip(*replies, strict=True)]
        theta_l = refreshed(refresh, t, theta_l, auxiliary, server, stored)
    return theta_l, [p.detach() for p in server.parameters()]


def refreshed(
    refresh: Refresh,
    t: int,
    theta_l: list[Tensor],
    auxiliary: nn.Module,
    server: nn.Module,
    stored: list[tuple[Tensor, Tensor]],
) -> list[Tensor]:
    """theta_l with its last part, theta_a, as the server leaves it."""
    f_a = copy.deepcopy(auxiliary)
    theta_c = theta_l[: -len(list(f_a.parameters()))]
    for p, value in zip(f_a.parameters(), theta_l[len(theta_c) :], strict=True):
        p.data = value.clone()
    refresh(t, f_a, copy.deepcopy(server), stored)
    return [*theta_c, *(p.detach() for p in f_a.parameters())]


def lay_out(parameters: list[nn.Parameter]) -> None:
    """Make them views of one buffer, one after the other, as the engine's are.

    On some processors a matrix product rounds differently when its operands start at another alignment.
    """
    buffer, start = torch.empty(sum(p.numel() for p in parameters)), 0
    for p in parameters:
        p.data = buffer[start : start + p.numel()].view(p.shape)
        start += p.numel()


def mean(values: tuple[Tensor, ...]) -> Tensor:
    total = values[0].clone()
    for value in values[1:]:
        total = total + value
    return total / len(values)
