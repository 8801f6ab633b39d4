"""Forward mode against reverse mode, and the module it leaves behind."""

import pytest
import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.zo import DISTRIBUTIONS, Estimator, FlatParameters, exact_projected_gradients
from heron.zo.stream import Distribution
from tests.reference import stream as reference
from tests.reference.problems import Quadratic, bits, conv_net, same_bits, state_bits

SEEDS = [0, 7, 2**64 - 1]


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


def test_of_a_loss_that_walks_over_the_parameters() -> None:
    """A weight penalty is part of the loss; parameters hidden from the walk would drop it without a word."""
    net, loss_fn = conv_net(torch.float64)

    def penalised() -> Tensor:
        return loss_fn() + 0.1 * sum(parameter.square().sum() for parameter in net.parameters())

    found = exact_projected_gradients(FlatParameters(net), penalised, SEEDS)
    torch.testing.assert_close(found, by_autograd(net, penalised(), SEEDS, "rademacher"), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("in_place", [False, True])
def test_through_layers_that_clients_are_made_of(in_place: bool) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(in_place), nn.GroupNorm(2, 4), nn.SiLU(in_place), nn.AvgPool2d(2)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 3)).double()
    inputs = torch.randn(5, 1, 6, 6, dtype=torch.float64)

    def loss_fn() -> Tensor:
        return net(inputs).square().mean()

    found = exact_projected_gradients(FlatParameters(net), loss_fn, SEEDS)
    torch.testing.assert_close(found, by_autograd(net, loss_fn(), SEEDS, "rademacher"), rtol=1e-10, atol=1e-12)


def test_through_attention_whose_fused_kernel_has_no_formula() -> None:
    torch.manual_seed(0)
    net = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, dtype=torch.float64)
    inputs = torch.randn(2, 5, 8, dtype=torch.float64)

    def loss_fn() -> Tensor:
        return net(inputs).square().mean() + net(inputs).exp().mean()

    found = exact_projected_gradients(FlatParameters(net), loss_fn, SEEDS)
    torch.testing.assert_close(found, by_autograd(net, loss_fn(), SEEDS, "rademacher"), rtol=1e-10, atol=1e-12)


class Doubled(torch.autograd.Function):
    """A custom operation with a backward formula only."""

    @staticmethod
    def forward(ctx: object, inputs: Tensor) -> Tensor:
        return 2.0 * inputs

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return 2.0 * gradient


class DoubledLinear(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return Doubled.apply(super().forward(inputs))


@pytest.mark.parametrize("make", [lambda: DoubledLinear(3, 2), lambda: nn.EmbeddingBag(4, 2)], ids=["custom", "torch"])
def test_an_operation_without_a_formula_is_refused_in_one_line(make) -> None:
    net = make()
    flat = FlatParameters(net)
    inputs = torch.ones(2, 3) if isinstance(net, nn.Linear) else torch.tensor([[0, 1]])
    before = state_bits(net)
    with pytest.raises(SplitError) as caught:
        Estimator(scheme="jvp").projected_gradients(flat, lambda: net(inputs).sum(), [1])
    assert "\n" not in str(caught.value)
    assert "expected operations with a forward-mode formula" in str(caught.value)
    assert "use scheme 'central'" in str(caught.value)
    assert same_bits(state_bits(net), before)
    assert Estimator(scheme="central").projected_gradients(flat, lambda: net(inputs).sum(), [1]).isfinite().all()


def test_another_lack_is_not_mistaken_for_a_formula() -> None:
    def unfinished() -> Tensor:
        raise NotImplementedError("my loss")

    with pytest.raises(NotImplementedError, match="my loss"):
        exact_projected_gradients(FlatParameters(conv_net()[0]), unfinished, [1])


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
