"""Update rules: replayed bit for bit, equal to NumPy float32 bit for bit, and the rules that the papers mean."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from heron.zo import (
    DISTRIBUTIONS,
    RULES,
    SGD,
    Adam,
    Estimator,
    FlatParameters,
    Momentum,
    Scheme,
    StepRecord,
    UpdateRule,
    ZerothOrder,
    direction,
    replay_,
)
from heron.zo import torch_kernel as kernel_module
from heron.zo.stream import Distribution
from tests.reference import rules as reference
from tests.reference import stream as reference_stream
from tests.reference.problems import bits, conv_net, same_bits, state_bits

Oracle = Callable[[np.ndarray, list[reference.Step]], np.ndarray]
CASES: dict[str, tuple[UpdateRule, Oracle]] = {
    "sgd": (SGD(0.03), partial(reference.sgd, learning_rate=0.03)),
    "momentum": (Momentum(0.03, 0.85), partial(reference.momentum, learning_rate=0.03, momentum=0.85)),
    "adam": (
        Adam(0.01, 0.8, 0.97, 1e-7),
        partial(reference.adam, learning_rate=0.01, beta1=0.8, beta2=0.97, epsilon=1e-7),
    ),
}


def setup_module() -> None:
    torch.set_num_threads(1)


def literal(record: StepRecord, d: int) -> reference.Step:
    directions = [reference_stream.rademacher(seed, 0, d).astype(np.float32) for seed in record.seeds]
    return list(record.projected_gradients_P.numpy()), directions


def records(rng: np.random.Generator, num_steps: int, num_probes: int) -> list[StepRecord]:
    return [
        StepRecord(
            tuple(int(seed) for seed in rng.integers(0, 2**64 - 1, num_probes, dtype=np.uint64, endpoint=True)),
            torch.from_numpy(rng.standard_normal(num_probes).astype(np.float32)),
        )
        for _ in range(num_steps)
    ]


def test_every_rule_has_its_case() -> None:
    assert {name: type(rule) for name, (rule, _) in CASES.items()} == RULES


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25, deadline=None)
@given(
    d=st.integers(1, 300),
    num_steps=st.integers(0, 6),
    num_probes=st.integers(1, 4),
    chunk=st.sampled_from([64, 128, 1 << 17]),
)
def test_replay_equals_numpy_bit_for_bit(name: str, d: int, num_steps: int, num_probes: int, chunk: int) -> None:
    rule, oracle = CASES[name]
    rng = np.random.default_rng([d, num_steps, num_probes])
    start, steps = rng.standard_normal(d).astype(np.float32), records(rng, num_steps, num_probes)
    flat = FlatParameters(nn.ParameterList([torch.from_numpy(start.copy())]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kernel_module._CHUNK_ENTRIES, "cpu", chunk)
        state = replay_(rule, rule.init(flat.theta), flat, steps)
    assert state.num_steps == num_steps
    expected = torch.from_numpy(oracle(start, [literal(step, d) for step in steps]))
    assert torch.equal(bits(flat.theta), bits(expected))
    assert torch.equal(bits(flat.work), bits(expected))


@pytest.mark.parametrize("name", CASES)
def test_replay_equals_numpy_across_a_default_chunk(name: str) -> None:
    rule, oracle = CASES[name]
    d = (1 << 17) + 77
    rng = np.random.default_rng(5)
    start, steps = rng.standard_normal(d).astype(np.float32), records(rng, 2, 2)
    flat = FlatParameters(nn.ParameterList([torch.from_numpy(start.copy())]))
    replay_(rule, rule.init(flat.theta), flat, steps)
    np.testing.assert_array_equal(flat.theta.numpy(), oracle(start, [literal(step, d) for step in steps]))


@pytest.mark.parametrize("scheme", ["one_sided", "central"])
@pytest.mark.parametrize("name", CASES)
def test_training_equals_numpy_bit_for_bit(name: str, scheme: Scheme) -> None:
    """The whole path: seeds to directions to losses to scalars to parameters, with the loss the only shared code."""
    rule, oracle = CASES[name]
    d, mu, num_probes, num_steps = 150, 0.05, 3, 5
    start = np.random.default_rng(7).standard_normal(d).astype(np.float32)
    module = nn.ParameterList([torch.from_numpy(start.copy())])

    def loss_at(x: Tensor) -> Tensor:
        return (x[:5] * x[-5:]).sum() + x[60].exp()

    optimizer = ZerothOrder(module, rule=rule, estimator=Estimator(mu, num_probes, scheme=scheme), seed=3)
    steps: list[reference.Step] = []
    for _ in range(num_steps):
        theta = oracle(start, steps)
        optimizer.step(lambda: loss_at(module[0]))
        record = optimizer.last_step
        assert record is not None
        _, directions = literal(record, d)
        scalars = []
        for u in directions:
            forward = loss_at(torch.from_numpy(theta + np.float32(mu) * u)).numpy()
            back = theta if scheme == "one_sided" else theta - np.float32(mu) * u
            width = np.float32(mu if scheme == "one_sided" else 2.0 * mu)
            scalars.append((forward - loss_at(torch.from_numpy(back)).numpy()) / width)
        assert record.projected_gradients_P.tolist() == [float(s) for s in scalars]
        steps.append((scalars, directions))
    assert torch.equal(bits(optimizer.flat.theta), bits(torch.from_numpy(oracle(start, steps))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", CASES)
def test_training_is_rebuilt_from_seeds_and_scalars(name: str, distribution: Distribution, dtype: torch.dtype) -> None:
    """After h steps: start, seeds and scalars are all it takes; records are not changed by later steps."""
    rule, _ = CASES[name]
    net, loss_fn = conv_net(dtype)
    optimizer = ZerothOrder(net, rule=rule, estimator=Estimator(1e-2, 2, distribution), seed=1)
    log: list[StepRecord] = []
    for _ in range(6):
        optimizer.step(loss_fn)
        assert optimizer.last_step is not None
        log.append(optimizer.last_step)
    elsewhere, _ = conv_net(dtype)
    flat = FlatParameters(elsewhere)
    start = bits(flat.theta)
    state = replay_(rule, rule.init(flat.theta), flat, log, distribution)
    assert not torch.equal(bits(flat.theta), start)
    assert torch.equal(bits(flat.theta), bits(optimizer.flat.theta))
    assert torch.equal(bits(flat.work), bits(optimizer.flat.work))
    assert state.num_steps == 6
    assert same_bits(
        {key: bits(moment) for key, moment in state.moments.items()},
        {key: bits(moment) for key, moment in optimizer.state.moments.items()},
    )


@pytest.mark.parametrize("split", [0, 1, 3])
def test_replay_goes_on_where_it_stopped(split: int) -> None:
    steps = records(np.random.default_rng(0), 5, 2)
    for rule, _ in CASES.values():
        (one, _), (two, _) = conv_net(), conv_net()
        whole, parts = FlatParameters(one), FlatParameters(two)
        replay_(rule, rule.init(whole.theta), whole, steps)
        state = replay_(rule, rule.init(parts.theta), parts, steps[:split])
        replay_(rule, state, parts, iter(steps[split:]))
        assert same_bits(state_bits(one), state_bits(two))


TORCH_RULES = {
    "sgd": partial(torch.optim.SGD, lr=0.03),
    "momentum": partial(torch.optim.SGD, lr=0.03, momentum=0.85),
    "adam": partial(torch.optim.Adam, lr=0.01, betas=(0.8, 0.97), eps=1e-7),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", CASES)
def test_equals_torch_optimisers_on_the_estimate(name: str, distribution: Distribution) -> None:
    """In float64 to rounding: the rules are torch's, fed with `(1/P) sum_p s_p u_p`."""
    rule, _ = CASES[name]
    d, steps = 100, records(np.random.default_rng(2), 20, 3)
    start = torch.linspace(-1.0, 1.0, d, dtype=torch.float64)
    flat = FlatParameters(nn.ParameterList([start.clone()]))
    replay_(rule, rule.init(flat.theta), flat, steps, distribution)
    parameter = nn.Parameter(start.clone())
    optimizer = TORCH_RULES[name]([parameter])
    for step in steps:
        directions = [direction(s, 0, d, distribution=distribution, like=start.double()) for s in step.seeds]
        parameter.grad = (step.projected_gradients_P.double().unsqueeze(1) * torch.stack(directions)).mean(dim=0)
        optimizer.step()
    # Scalars are float32: dividing them by three probes is rounded once at 6e-8, all else is float64.
    torch.testing.assert_close(flat.theta, parameter.detach(), rtol=0, atol=1e-6)
