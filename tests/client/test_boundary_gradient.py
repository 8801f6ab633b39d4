"""What is measured below the boundary is the gradient of the client's own loss: float64 against autograd, mu -> 0."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.client.first_order import LocalLossClient
from heron.client.round import finish
from heron.client.torch_runtime.surrogate import surrogate_loss
from heron.data import Batch
from heron.randomness import seeded_randomness
from heron.seeds import StepKey
from heron.split import SplitModel, pooled_linear_head
from heron.wire.groups import Client, Probes, Settings
from heron.zo import DISTRIBUTIONS
from heron.zo.stream import direction

KEY = StepKey(3, 1, 2, 0)
PROBES = 4
EVERY_BOUNDARY = pytest.mark.parametrize("exact", [1, 2, 3, 4, 5])


def smooth_net(head: str = "linear") -> SplitModel:
    """Trainable: conv, BatchNorm, conv, BatchNorm, conv; nothing in it has a kink. Dropout below and above."""
    torch.manual_seed(4)
    client = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.Tanh(),
        nn.Dropout(0.2),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh()),
        nn.Dropout(0.2),
        nn.Conv2d(4, 3, 1),
        nn.Softplus(),
    )
    mlp = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 5))
    auxiliary = pooled_linear_head((3, 4, 4), 5) if head == "linear" else mlp
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), auxiliary).double()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 1, 4, 4, generator=generator, dtype=torch.float64)
    return Batch(inputs, torch.randint(0, 5, (8,), generator=generator))


def one_step(split: SplitModel, exact: int, estimator: Probes) -> LocalLossClient:
    settings = Settings(client=Client(optimizer="sgd", learning_rate=0.1, exact=exact), estimator=estimator)
    _, learner = ALGORITHMS["heron"].torch_client(split, cross_entropy, settings)
    assert isinstance(learner, LocalLossClient)
    step = learner.step(batch(), KEY)
    next(step)
    finish(step)
    return learner


def true_gradients(split: SplitModel) -> dict[str, torch.Tensor]:
    """Through the whole client, with the step's masks."""
    module = nn.ModuleDict({"client": split.client, "auxiliary": split.auxiliary})
    with seeded_randomness(KEY.seed("dropout", 0)):
        loss = cross_entropy(split.auxiliary(split.client(batch().inputs)), batch().labels)
    names, parameters = zip(*module.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def errors(head: str, exact: int, mu: float, scheme: str, distribution: str = "rademacher") -> torch.Tensor:
    """Measured minus exact directional derivative of every probe, over the latter's root mean square |grad_v l|."""
    split = smooth_net(head)
    gradients = true_gradients(copy.deepcopy(split))
    learner = one_step(split, exact, Probes(mu, PROBES, distribution, scheme))
    gradient = torch.cat([gradients[name].reshape(-1) for name in learner.probed.model()])
    seeds, found = learner.probed.last_step.seeds, learner.probed.last_step.projected_gradients_P
    assert seeds == tuple(KEY.seed("direction", probe) for probe in range(PROBES))
    size = gradient.numel()
    directions = [
        direction(s, 0, size, distribution=distribution, like=torch.empty(0, dtype=torch.float64)) for s in seeds
    ]
    return (found - torch.stack([u @ gradient for u in directions])) / gradient.norm()


@EVERY_BOUNDARY
@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize(("scheme", "order"), [("one_sided", 1), ("central", 2)])
def test_probes_converge_to_the_directional_derivative(head: str, exact: int, scheme: str, order: int) -> None:
    """Taylor: the error is c mu (one-sided) or c mu^2 (central), so that halving mu divides it by 2 or by 4."""
    coarse, fine = (errors(head, exact, mu, scheme) for mu in (2e-3, 1e-3))
    assert float(coarse.abs().max()) < 0.2
    if exact == 5:  # one convolution below: the surrogate is linear, and its differences exact up to rounding
        assert float(errors(head, exact, 0.5, scheme).abs().max()) < 1e-12
        return
    ratio = float(coarse.norm() / fine.norm())
    assert ratio == pytest.approx(2**order, rel=0.1)
    assert float(errors(head, exact, 1e-5, "central").abs().max()) < 1e-6


@EVERY_BOUNDARY
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_both_distributions(exact: int, distribution: str) -> None:
    assert float(errors("linear", exact, 1e-5, "central", distribution).abs().max()) < 1e-6


@EVERY_BOUNDARY
def test_above_the_boundary_the_gradient_is_exact(exact: int) -> None:
    split = smooth_net("mlp")
    before = copy.deepcopy(split)
    gradients = true_gradients(copy.deepcopy(split))
    learner = one_step(split, exact, Probes())
    started = dict(nn.ModuleDict({"client": before.client, "auxiliary": before.auxiliary}).named_parameters())
    above = {name for name in gradients if name not in learner.probed.model()}
    assert above
    for name in above:
        torch.testing.assert_close(
            learner.model()[name], started[name].detach() - 0.1 * gradients[name], rtol=1e-12, atol=1e-14
        )


def test_the_mean_over_all_directions_is_the_gradient() -> None:
    """Of the 2^d sign vectors of a bottom with d = 4 parameters: mean s u = grad_v l, exactly for a linear bottom."""
    torch.manual_seed(0)
    bottom, inputs = nn.Linear(2, 2, bias=False).double(), torch.randn(5, 2, dtype=torch.float64)
    above, labels = nn.Sequential(nn.Tanh(), nn.Linear(2, 3)).double(), torch.tensor([0, 1, 2, 0, 1])
    activations = bottom(inputs)
    loss = cross_entropy(above(activations), labels)
    delta, gradient = torch.autograd.grad(loss, [activations, bottom.weight])
    clean, start = surrogate_loss(delta, activations.detach()), bottom.weight.detach().clone()
    total = torch.zeros_like(start)
    for number in range(16):
        u = torch.tensor([1.0 - 2.0 * (number >> bit & 1) for bit in range(4)], dtype=torch.float64).view(2, 2)
        with torch.no_grad():
            moved = surrogate_loss(delta, inputs @ (start + 0.5 * u).T)
        total += (moved - clean) / 0.5 * u
    torch.testing.assert_close(total / 16, gradient, rtol=1e-12, atol=1e-14)
