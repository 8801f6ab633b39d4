"""SplitFed V1 and V2, FedAvg and FSL-SAGE as literally as possible: plain loops, `autograd.grad`, no code of `heron`.

SGD everywhere but in FSL-SAGE's alignment. Updates are written `p.add_(g, alpha=-rate)`, as in `heron_sfl`.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.reference.heron_sfl import Order, mean


def weighted_mean(values: list[Tensor], weights: list[float]) -> Tensor:
    if all(weight == 1 for weight in weights):
        return mean(tuple(values))
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = total + value * weight
    return total / sum(weights)


def average(replies: list[list[Tensor]], weights: list[float]) -> list[Tensor]:
    return [weighted_mean(list(values), weights) for values in zip(*replies, strict=True)]


def take(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def put(module: nn.Module, values: list[Tensor]) -> None:
    for p, value in zip(module.parameters(), values, strict=True):
        p.data = value.clone()


def descend(module: nn.Module, gradients: tuple[Tensor, ...], rate: float) -> None:
    with torch.no_grad():
        for p, g in zip(module.parameters(), gradients, strict=True):
            p.add_(g, alpha=-rate)


def splitfed(
    version: int,
    client: nn.Module,
    server: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    weights: list[float],
    rounds: int,
    client_rate: float,
    server_rate: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """(theta_c, theta_s) after the rounds of SplitFed V1 or V2 (Thapa et al. 2022)."""
    f_c, f_s = copy.deepcopy(client), copy.deepcopy(server)
    theta_c, theta_s = take(f_c), take(f_s)
    for t in range(rounds):
        clients, copies = [], []
        for i in range(len(weights)):
            put(f_c, theta_c)
            if version == 1:
                put(f_s, theta_s)
            for chosen in order(t, i):
                x, y = inputs[chosen], labels[chosen]
                z = f_c(x)
                received = z.detach().requires_grad_()
                loss = cross_entropy(f_s(received), y)
                *remote, cut_gradient = torch.autograd.grad(loss, [*f_s.parameters(), received])
                local = torch.autograd.grad(z, list(f_c.parameters()), cut_gradient)
                descend(f_s, tuple(remote), server_rate)
                descend(f_c, local, client_rate)
            clients.append(take(f_c))
            copies.append(take(f_s))
        theta_c = average(clients, weights)
        theta_s = average(copies, weights) if version == 1 else copies[-1]
    return theta_c, theta_s


def fedavg(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    weights: list[float],
    rounds: int,
    rate: float,
) -> list[Tensor]:
    """theta of the whole network after the rounds of FedAvg (McMahan et al. 2017)."""
    f = copy.deepcopy(network)
    theta = take(f)
    for t in range(rounds):
        replies = []
        for i in range(len(weights)):
            put(f, theta)
            for chosen in order(t, i):
                gradients = torch.autograd.grad(cross_entropy(f(inputs[chosen]), labels[chosen]), list(f.parameters()))
                descend(f, gradients, rate)
            replies.append(take(f))
        theta = average(replies, weights)
    return theta


def fsl_sage(
    client: nn.Module,
    auxiliary: nn.Module,
    server: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    order: Order,
    *,
    weights: list[float],
    rounds: int,
    client_rate: float,
    server_rate: float,
    period: int,
    steps: int,
    rate: float,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """(theta_c, theta_a, theta_s) after the rounds of FSL-SAGE with one auxiliary network."""
    f_c, f_a, f_s = copy.deepcopy(client), copy.deepcopy(auxiliary), copy.deepcopy(server)
    theta_c = take(f_c)
    for t in range(rounds):
        replies, stored = [], []
        for i in range(len(weights)):
            put(f_c, theta_c)
            for chosen in order(t, i):
                x, y = inputs[chosen], labels[chosen]
                z = f_c(x)
                local = torch.autograd.grad(cross_entropy(f_a(z), y), list(f_c.parameters()))
                remote = torch.autograd.grad(cross_entropy(f_s(z.detach()), y), list(f_s.parameters()))
                descend(f_c, local, client_rate)
                descend(f_s, remote, server_rate)
                last = (z.detach(), y)
            replies.append(take(f_c))
            stored.append(last)
        theta_c = average(replies, weights)
        if (t + 1) % period == 0:
            align(f_a, f_s, stored, steps, rate)
    return theta_c, take(f_a), take(f_s)


def align(f_a: nn.Module, f_s: nn.Module, stored: list[tuple[Tensor, Tensor]], steps: int, rate: float) -> None:
    """theta_a <- Adam on || grad_z l(f_a(z), y) - g_s ||^2 / || g_s ||^2, pair after pair."""
    adam = torch.optim.Adam(f_a.parameters(), lr=rate)
    for _ in range(steps):
        for z, y in stored:
            at = z.clone().requires_grad_()
            (target,) = torch.autograd.grad(cross_entropy(f_s(at), y), at)
            (found,) = torch.autograd.grad(cross_entropy(f_a(at), y), at, create_graph=True)
            adam.zero_grad()
            (((found - target) ** 2).sum() / (target**2).sum()).backward()
            adam.step()
