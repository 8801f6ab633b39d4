"""Forward mode against reverse mode, and the module it leaves behind."""

import pytest
import torch
from torch import Tensor, nn

from heron.zo import DISTRIBUTIONS, Estimator, FlatParameters, exact_projected_gradients
from heron.zo.stream import Distribution
from tests.reference import stream as reference
from tests.reference.problems import Quadratic, bits, conv_net, same_bits, state_bits

SEEDS = [0, 7, 2**64 - 1]
# torch compiles decompositions of its own at the first dual tensor of a process, with an API that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def setup_module() -> None:
    torch.set_num_threads(1)


def by_autograd(module: nn.Module, loss: Tensor, seeds: list[int], distribution: Distribution) -> Tensor:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gradient = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, parameters)])
    directions = [reference.direction(seed, 0, gradient.numel(), distribution) for seed in seeds]
    return torch.stack([torch.from_numpy(u) @ gradient for u in directions])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("training", [True, False])
def test_equals_autograd(distribution: Distribution, training: bool) -> None:
    net, loss_fn = conv_net(torch.float64)
    net.train(training)
    found = exact_projected_gradients(FlatParameters(net), loss_fn, SEEDS, distribution)
    expected = by_autograd(net, loss_fn(), SEEDS, distribution)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_with_frozen_and_tied_parameters() -> None:
    first, second, head = (nn.Linear(4, 4, dtype=torch.float64) for _ in range(3))
    second.weight = first.weight
    head.bias.requires_grad_(False)
    net, inputs = nn.Sequential(first, nn.Tanh(), second, head), torch.linspace(-1, 1, 12, dtype=torch.float64)

    def loss_fn() -> Tensor:
        return net(inputs.view(3, 4)).square().mean()

    found = exact_projected_gradients(FlatParameters(net), loss_fn, SEEDS)
    torch.testing.assert_close(found, by_autograd(net, loss_fn(), SEEDS, "rademacher"), rtol=1e-12, atol=1e-14)
    assert second.weight is first.weight


def test_is_the_limit_of_finite_differences() -> None:
    """A central difference errs by mu^2 times a third derivative: a hundredth of mu, a ten-thousandth of the error."""
    net, loss_fn = conv_net(torch.float64)
    flat = FlatParameters(net)
    exact = exact_projected_gradients(flat, loss_fn, SEEDS)
    errors = [
        (Estimator(mu=mu, num_probes=3, scheme="central").projected_gradients(flat, loss_fn, SEEDS) - exact).abs().max()
        for mu in (1e-2, 1e-4)
    ]
    assert errors[1] < 2e-4 * errors[0]


def test_of_a_loss_that_ignores_the_parameters_is_zero() -> None:
    flat = FlatParameters(conv_net()[0])
    assert exact_projected_gradients(flat, lambda: torch.tensor(3.0), SEEDS).tolist() == [0.0, 0.0, 0.0]


def test_on_a_quadratic() -> None:
    problem = Quadratic(9)
    found = exact_projected_gradients(FlatParameters(problem), problem, [4])
    assert found.item() == pytest.approx(float(reference.rademacher(4, 0, 9) @ problem.gradient().numpy()), rel=1e-12)


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_leaves_the_module_as_it_was(raises: bool, frozen: bool) -> None:
    net, loss_fn = conv_net()
    net[0].weight.requires_grad_(not frozen)
    flat = FlatParameters(net)
    named = list(net.named_parameters())
    before, attributes = state_bits(net), [set(vars(module)) for module in net.modules()]
    theta = bits(flat.theta)

    def sometimes() -> Tensor:
        loss = loss_fn()
        if raises:
            raise KeyboardInterrupt
        return loss

    try:
        result = exact_projected_gradients(flat, sometimes, SEEDS)
    except KeyboardInterrupt:
        assert raises
    else:
        assert not raises
        assert not result.requires_grad
    after = list(net.named_parameters())
    assert [name for name, _ in after] == [name for name, _ in named]
    assert all(one is other for (_, one), (_, other) in zip(after, named, strict=True))
    assert [parameter.requires_grad for _, parameter in after] == [not frozen, *[True] * 5]
    assert all(parameter.grad is None for _, parameter in after)
    assert [set(vars(module)) for module in net.modules()] == attributes
    assert same_bits(state_bits(net), before)
    assert torch.equal(bits(flat.theta), theta)
    # Still views of the flat buffer, and still trainable by autograd.
    flat.work.add_(1.0)
    assert not same_bits(state_bits(net), before)
    loss_fn().backward()
