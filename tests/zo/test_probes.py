"""Probes: exact on quadratics, and without a trace in parameters and buffers, whatever the loss does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heron.errors import ConfigError
from heron.zo import DISTRIBUTIONS, SCHEMES, Estimator, FlatParameters, Scheme, direction, preserved_buffers
from heron.zo.stream import Distribution
from tests.reference import estimators as reference
from tests.reference import stream as reference_stream
from tests.reference.problems import Quadratic, bits, conv_net, same_bits, state_bits

FINITE_DIFFERENCES = pytest.mark.parametrize("scheme", ["one_sided", "central"])
MU = st.floats(1e-3, 1.0)
SEED = st.integers(0, 2**64 - 1)


def setup_module() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@settings(max_examples=40, deadline=None)
@given(mu=MU, seed=SEED, d=st.integers(1, 40))
def test_central_equals_the_directional_derivative(distribution: Distribution, mu: float, seed: int, d: int) -> None:
    """The error of a central difference is a third derivative; a quadratic has none.

    1e-9 of |u| |g|: relative, but for directions that happen to be orthogonal to the gradient.
    """
    problem = Quadratic(d)
    estimator = Estimator(mu=mu, distribution=distribution, scheme="central")
    found = estimator.projected_gradients(FlatParameters(problem), problem, [seed])
    u = torch.from_numpy(reference_stream.direction(seed, 0, d, distribution))
    gradient = problem.gradient()
    assert found.dtype == torch.float64
    assert found.shape == (1,)
    assert abs(found[0] - u @ gradient) <= 1e-9 * u.norm() * gradient.norm()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@settings(max_examples=40, deadline=None)
@given(mu=MU, seed=SEED, d=st.integers(1, 40))
def test_one_sided_adds_exactly_the_curvature(distribution: Distribution, mu: float, seed: int, d: int) -> None:
    """`s = <u, g> + (mu / 2) u^T H u` on a quadratic."""
    problem = Quadratic(d)
    flat = FlatParameters(problem)
    estimator = Estimator(mu=mu, distribution=distribution)
    found = estimator.projected_gradients(flat, problem, [seed], problem())
    u = torch.from_numpy(reference_stream.direction(seed, 0, d, distribution))
    gradient, curvature = problem.gradient(), u @ problem.hessian @ u
    bias = found[0] - u @ gradient
    assert abs(bias - 0.5 * mu * curvature) <= 1e-9 * (u.norm() * gradient.norm() + mu * curvature)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@FINITE_DIFFERENCES
def test_equals_the_reference(distribution: Distribution, scheme: Scheme) -> None:
    d, mu, seeds = 17, 0.1, [0, 5, 2**64 - 1]
    problem = Quadratic(d)
    estimator = Estimator(mu=mu, num_probes=3, distribution=distribution, scheme=scheme)
    found = estimator.projected_gradients(FlatParameters(problem), problem, seeds, problem())
    theta, oracle = problem.x.detach().numpy().copy(), getattr(reference, scheme)
    directions = [reference_stream.direction(seed, 0, d, distribution) for seed in seeds]
    expected = [oracle(problem.numpy_loss, theta, u, mu) for u in directions]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


@FINITE_DIFFERENCES
def test_half_precision_losses_are_differenced_in_float32(scheme: Scheme) -> None:
    """1.5 and 1.0 are bfloat16 numbers, their difference over 0.3 (or twice that) is none: it must not be rounded."""
    flat = FlatParameters(conv_net(torch.bfloat16)[0])
    losses = iter([1.5, 1.0])
    estimator = Estimator(mu=0.3, scheme=scheme)
    clean = torch.tensor(1.0, dtype=torch.bfloat16)
    found = estimator.projected_gradients(flat, lambda: torch.tensor(next(losses), dtype=torch.bfloat16), [1], clean)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(0.5 / (0.3 if scheme == "one_sided" else 0.6), rel=1e-6)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("mu", [1e-30, 1e30])
def test_jvp_is_the_directional_derivative_whatever_mu(distribution: Distribution, mu: float) -> None:
    """Float64 rounding of |u| |g|; the directions are those of the same seeds."""
    net, loss_fn = conv_net(torch.float64)
    estimator = Estimator(mu, 2, distribution, "jvp")
    found = estimator.projected_gradients(FlatParameters(net), loss_fn, [3, 9])
    gradient = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss_fn(), list(net.parameters()))])
    for scalar, seed in zip(found, [3, 9], strict=True):
        u = torch.from_numpy(reference_stream.direction(seed, 0, len(gradient), distribution))
        assert abs(scalar - u @ gradient) <= 1e-13 * u.norm() * gradient.norm()


def test_jvp_looks_at_theta_even_after_a_probe_in_place() -> None:
    problem = Quadratic(9)
    flat = FlatParameters(problem)
    expected = Estimator(scheme="jvp").projected_gradients(flat, problem, [4])
    Estimator(mu=1.0, scheme="central").projected_gradients_(flat, problem, [5])
    assert not torch.equal(flat.work, flat.theta)
    assert torch.equal(Estimator(scheme="jvp").projected_gradients_(flat, problem, [4]), expected)


def test_jvp_of_a_half_precision_loss_is_single() -> None:
    net, loss_fn = conv_net(torch.bfloat16)
    found = Estimator(scheme="jvp").projected_gradients(FlatParameters(net), lambda: loss_fn().bfloat16(), [1])
    assert found.dtype == torch.float32


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("num_probes", [1, 2, 5])
def test_number_of_forwards_and_where_they_look(scheme: Scheme, num_probes: int) -> None:
    net, _ = conv_net(torch.float64)
    flat = FlatParameters(net)
    seen: list[Tensor] = []

    def loss_fn() -> Tensor:
        assert not torch.is_grad_enabled()
        seen.append(torch.cat([parameter.reshape(-1) for parameter in net.parameters()]) - flat.theta)
        return flat.work.sum()

    estimator = Estimator(mu=0.01, num_probes=num_probes, scheme=scheme)
    seeds = list(range(num_probes))
    estimator.projected_gradients(flat, loss_fn, seeds, flat.theta.sum())
    assert len(seen) == estimator.num_probe_forwards == num_probes * (2 if scheme == "central" else 1)
    sides = {"one_sided": [0.01], "central": [0.01, -0.01], "jvp": [0.0]}[scheme]
    expected = [side * direction(seed, 0, len(flat), like=flat.theta) for seed in seeds for side in sides]
    torch.testing.assert_close(torch.stack(seen), torch.stack(expected), rtol=0, atol=1e-14)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@settings(max_examples=10, deadline=None)
@given(num_probes=st.integers(1, 6), mu=st.sampled_from([1e-3, 1.0]))
def test_probes_leave_no_trace(
    distribution: Distribution, scheme: Scheme, dtype: torch.dtype, num_probes: int, mu: float
) -> None:
    """Parameters, running statistics, `theta` and `work`: the same bits, although each forward is in training mode."""
    net, loss_fn = conv_net(dtype)
    flat = FlatParameters(net)
    before, theta = state_bits(net), bits(flat.theta)
    estimator = Estimator(mu=mu, num_probes=num_probes, distribution=distribution, scheme=scheme)
    with torch.no_grad(), preserved_buffers(net):
        clean = loss_fn()
    scalars_P = estimator.projected_gradients(flat, loss_fn, range(num_probes), clean)
    assert scalars_P.shape == (num_probes,)
    assert scalars_P.all()
    assert same_bits(state_bits(net), before)
    assert torch.equal(bits(flat.theta), theta)
    assert torch.equal(bits(flat.work), theta)


@pytest.mark.parametrize("in_place", [False, True], ids=["restoring", "in_place"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@settings(max_examples=12, deadline=None)
@given(data=st.data(), num_probes=st.integers(1, 5))
def test_probes_leave_no_trace_when_the_loss_raises(
    in_place: bool, scheme: Scheme, error: type[BaseException], data: st.DataObject, num_probes: int
) -> None:
    """Raised after the forward, so that running statistics have already moved."""
    net, loss_fn = conv_net()
    flat = FlatParameters(net)
    before, theta = state_bits(net), bits(flat.theta)
    estimator = Estimator(num_probes=num_probes, scheme=scheme)
    last = data.draw(st.integers(1, estimator.num_probe_forwards))
    calls = 0

    def failing() -> Tensor:
        nonlocal calls
        calls += 1
        loss = loss_fn()
        if calls == last:
            raise error
        return loss

    probe = estimator.projected_gradients_ if in_place else estimator.projected_gradients
    with pytest.raises(error):
        probe(flat, failing, range(num_probes), torch.zeros(()))
    assert calls == last
    assert same_bits(state_bits(net), before)
    assert torch.equal(bits(flat.theta), theta)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("num_seeds", [0, 1, 3])
def test_refuses_a_wrong_number_of_seeds(scheme: Scheme, num_seeds: int) -> None:
    net, loss_fn = conv_net()
    with pytest.raises(ConfigError, match=f"^expected 2 probe seeds, found {num_seeds}$"):
        Estimator(num_probes=2, scheme=scheme).projected_gradients(
            FlatParameters(net), loss_fn, range(num_seeds), torch.zeros(())
        )


def test_one_sided_needs_its_clean_loss() -> None:
    net, loss_fn = conv_net()
    flat = FlatParameters(net)
    with pytest.raises(ConfigError, match=r"^expected the clean loss, found none.*$"):
        Estimator().projected_gradients(flat, loss_fn, [1])
    assert Estimator(scheme="central").projected_gradients(flat, loss_fn, [1]).shape == (1,)
