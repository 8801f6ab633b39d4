"""Parameters in float16 and bfloat16: arithmetic, scales and moments in float32, one rounding a step."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heron.arrays import numpy_dtype, to_host
from heron.client.zeroth_order import ZerothOrderPart
from heron.seeds import StepKey
from heron.wire.groups import Client, Settings
from heron.wire.learning import Learning
from heron.zo import (
    DISTRIBUTIONS,
    RULES,
    SGD,
    Adam,
    FlatArrays,
    FlatParameters,
    KernelName,
    Momentum,
    StepRecord,
    UpdateRule,
    direction,
    replay_,
)
from heron.zo import steps as steps_module
from heron.zo.stream import Distribution
from tests.reference.problems import bits

NARROW = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
BY_RULE = pytest.mark.parametrize(
    "rule", [SGD(0.03), Momentum(0.03, 0.85), Adam(0.01, 0.8, 0.97, 1e-7)], ids=lambda rule: type(rule).__name__
)
D = 333


def setup_module() -> None:
    torch.set_num_threads(1)


def start(dtype: torch.dtype) -> Tensor:
    return torch.randn(D, generator=torch.Generator().manual_seed(1)).to(dtype)


def steps(number: int) -> list[StepRecord]:
    generator = torch.Generator().manual_seed(2)
    return [StepRecord((3 * n, 3 * n + 1), torch.randn(2, generator=generator)) for n in range(number)]


def trained(
    rule: UpdateRule, dtype: torch.dtype, kernel: KernelName = "auto", distribution: Distribution = "rademacher"
) -> list[Tensor]:
    flat = FlatParameters(nn.ParameterList([start(dtype)]), kernel=kernel)
    state = replay_(rule, rule.init(flat.theta), flat, steps(5), distribution)
    assert torch.equal(bits(flat.theta), bits(flat.work))
    return [flat.theta, *state.moments.values()]


def literal(rule: UpdateRule, dtype: torch.dtype) -> list[Tensor]:
    """The rules in float32, theta rounded after every step."""
    theta, zero = start(dtype), torch.zeros(D)
    moments = {SGD: [], Momentum: [zero], Adam: [zero, zero]}[type(rule)]
    for number, record in enumerate(steps(5), 1):
        sign = -rule.learning_rate if isinstance(rule, SGD) else 1.0
        scales = record.projected_gradients_P * (sign / 2)
        terms = [scale * direction(seed, 0, D, like=zero) for seed, scale in zip(record.seeds, scales, strict=True)]
        if isinstance(rule, SGD):
            theta = (theta.float() + terms[0] + terms[1]).to(dtype)
        elif isinstance(rule, Momentum):
            moments[0] = moments[0] * rule.momentum + (terms[0] + terms[1])
            theta = (theta.float() - moments[0] * rule.learning_rate).to(dtype)
        else:
            assert isinstance(rule, Adam)
            g = terms[0] + terms[1]
            first = moments[0] * rule.beta1 + g * (1.0 - rule.beta1)
            second = moments[1] * rule.beta2 + g * g * (1.0 - rule.beta2)
            root = torch.sqrt(second.double()).float() * (1.0 / np.sqrt(1.0 - rule.beta2**number))
            step = first * (rule.learning_rate / (1.0 - rule.beta1**number))
            theta, moments = (theta.float() - step / (root + rule.epsilon)).to(dtype), [first, second]
    return [theta, *moments]


@NARROW
@BY_RULE
@pytest.mark.parametrize("kernel", ["torch", "numpy", "auto"])
def test_every_kernel_has_the_bits_of_float32_arithmetic(
    rule: UpdateRule, dtype: torch.dtype, kernel: KernelName
) -> None:
    found, expected = trained(rule, dtype, kernel), literal(rule, dtype)
    assert [tensor.dtype for tensor in found] == [dtype, *[torch.float32] * (len(found) - 1)]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(bits(one), bits(other))


@NARROW
@BY_RULE
def test_arrays_of_numpy_are_the_same(rule: UpdateRule, dtype: torch.dtype) -> None:
    flat = FlatArrays({"x": np.array(to_host(start(dtype)))})
    assert flat.theta.dtype == numpy_dtype(str(dtype).removeprefix("torch."))
    state = rule.init(flat.theta)
    records = [StepRecord(step.seeds, step.projected_gradients_P.numpy()) for step in steps(5)]
    state = replay_(rule, state, flat, records)
    for one, other in zip([flat.theta, *state.moments.values()], literal(rule, dtype), strict=True):
        assert one.tobytes() == to_host(other).tobytes()


@NARROW
@BY_RULE
@pytest.mark.parametrize("kernel", ["torch", "numpy"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_steps_in_one_replay_have_the_bits_of_one_after_the_other(
    rule: UpdateRule, dtype: torch.dtype, kernel, distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = trained(rule, dtype, kernel, distribution)
    monkeypatch.setattr(steps_module, "_STEPS_PER_PASS", 1)
    for one, other in zip(together, trained(rule, dtype, kernel, distribution), strict=True):
        assert torch.equal(bits(one), bits(other))


@NARROW
@pytest.mark.parametrize("scalar", [1e-4, 1e3])
def test_adam_moves_by_its_rate_whatever_the_scale_of_the_gradient(dtype: torch.dtype, scalar: float) -> None:
    """In float16 a square of 1e-8 is zero, one of 1e6 infinite, and so is epsilon: found NaN, and no move."""
    flat = FlatParameters(nn.ParameterList([torch.zeros(100, dtype=dtype)]))
    rule = Adam(1e-2)
    state = rule.init(flat.theta)
    for _ in range(3):
        before = flat.theta.float()
        state = replay_(rule, state, flat, [StepRecord((7,), torch.tensor([scalar]))])
        moved = (flat.theta.float() - before).abs()
        torch.testing.assert_close(moved, torch.full((100,), 1e-2), rtol=2e-2, atol=0)


@NARROW
def test_small_terms_of_one_step_are_summed_before_they_are_rounded(dtype: torch.dtype) -> None:
    """Eight probes along one direction, each below half a unit of the last place, are four units together."""
    flat = FlatParameters(nn.ParameterList([torch.ones(10, dtype=dtype)]))
    unit = torch.finfo(dtype).eps
    rule = SGD(4 * unit)
    replay_(rule, rule.init(flat.theta), flat, [StepRecord((5,) * 8, torch.ones(8))])
    assert set((flat.theta.float() - 1.0).abs().tolist()) == {4 * unit}


@NARROW
@pytest.mark.parametrize("rule", RULES)
def test_a_client_takes_large_scalars(dtype: torch.dtype, rule: str) -> None:
    """70,000 is infinite in float16."""
    flat = FlatParameters(nn.ParameterList([torch.zeros(10, dtype=dtype)]))
    part = ZerothOrderPart(flat, Learning(Settings(client=Client(optimizer=rule, learning_rate=1e-5))))
    part.update(StepKey(0, 0, 0, 0), [3], torch.tensor([70_000.0]))
    assert torch.isfinite(flat.theta).all()
    assert flat.theta.any()
    assert part.last_step is not None
    assert part.last_step.projected_gradients_P.dtype == torch.float32
