"""The optimiser: its costs, its reproducibility, and what it leaves alone."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from heron.seeds import derive_seed
from heron.zo import DISTRIBUTIONS, SCHEMES, SGD, Adam, Estimator, FlatParameters, Scheme, ZerothOrder, replay_
from heron.zo.stream import Distribution
from tests.reference.problems import bits, conv_net, same_bits, state_bits


def setup_module() -> None:
    torch.set_num_threads(1)


def counted(loss_fn: Callable[[], Tensor], calls: list[Tensor], raise_at: int | None = None) -> Callable[[], Tensor]:
    """`loss_fn` that notes its values, and raises after the forward number `raise_at`."""

    def loss() -> Tensor:
        calls.append(loss_fn())
        if len(calls) == raise_at:
            raise FloatingPointError
        return calls[-1]

    return loss


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("num_probes", [1, 2, 5])
def test_number_of_losses_and_no_graph(scheme: Scheme, num_probes: int) -> None:
    net, loss_fn = conv_net()
    optimizer = ZerothOrder(net, rule=SGD(0.01), estimator=Estimator(num_probes=num_probes, scheme=scheme))
    packed = []
    for num_checks in (1, 0):  # the first step looks at its clean loss twice
        calls = []
        with torch.autograd.graph.saved_tensors_hooks(packed.append, lambda _: None):
            clean = optimizer.step(counted(loss_fn, calls))
        assert len(calls) == 1 + num_checks + num_probes * (2 if scheme == "central" else 1)
        assert all(loss.grad_fn is None and not loss.requires_grad for loss in [*calls, clean])
        assert not packed
        assert clean.equal(calls[0])
    assert clean.shape == ()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert torch.is_grad_enabled()


def test_process_wide_generator_is_untouched() -> None:
    net, loss_fn = conv_net()
    before = torch.get_rng_state()
    for distribution in DISTRIBUTIONS:
        ZerothOrder(net, rule=Adam(0.01), estimator=Estimator(distribution=distribution)).step(loss_fn)
    assert torch.equal(torch.get_rng_state(), before)


def trained(seed: int, distribution: Distribution = "rademacher", steps: int = 3) -> ZerothOrder:
    net, loss_fn = conv_net()
    optimizer = ZerothOrder(net, rule=Adam(0.01), estimator=Estimator(1e-3, 2, distribution), seed=seed)
    for _ in range(steps):
        optimizer.step(loss_fn)
    return optimizer


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_seed_decides(distribution: Distribution) -> None:
    results = {seed: bits(trained(seed, distribution).flat.theta) for seed in (0, 1, 2)}
    torch.rand(5)  # whatever else draws numbers
    for seed, expected in results.items():
        assert torch.equal(bits(trained(seed, distribution).flat.theta), expected)
    assert not torch.equal(results[0], results[1])
    assert not torch.equal(results[1], results[2])


def test_seeds_are_named_by_run_step_and_probe() -> None:
    for step in (1, 2, 3):
        record = trained(0, steps=step).last_step
        assert record is not None
        assert record.seeds == tuple(derive_seed("direction", 0, step - 1, probe) for probe in (0, 1))
        assert record.projected_gradients_P.shape == (2,)


def test_last_step_replays() -> None:
    net, loss_fn = conv_net()
    optimizer = ZerothOrder(net, rule=SGD(0.05), estimator=Estimator(num_probes=3))
    assert optimizer.last_step is None
    optimizer.step(loss_fn)
    replica, _ = conv_net()
    replica.load_state_dict(net.state_dict())
    flat = FlatParameters(replica)
    optimizer.step(loss_fn)
    assert optimizer.last_step is not None
    replay_(SGD(0.05), SGD(0.05).init(flat.theta), flat, [optimizer.last_step])
    assert torch.equal(bits(flat.theta), bits(optimizer.flat.theta))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("num_probes", [1, 4])
def test_batchnorm_sees_exactly_the_clean_passes(distribution: Distribution, scheme: Scheme, num_probes: int) -> None:
    """Running statistics after each step: those of one forward at the parameters before it."""
    (net, loss_fn), (twin, twin_loss_fn) = conv_net(), conv_net()
    optimizer = ZerothOrder(
        net, rule=SGD(0.05), estimator=Estimator(1e-2, num_probes, distribution, scheme), seed=num_probes
    )
    for step in (1, 2, 3):
        twin.load_state_dict(net.state_dict())
        twin_loss_fn()
        optimizer.step(loss_fn)
        for (name, found), (_, expected) in zip(net.named_buffers(), twin.named_buffers(), strict=True):
            assert torch.equal(bits(found), bits(expected)), name
        assert net[1].num_batches_tracked == step
        assert torch.equal(bits(optimizer.flat.work), bits(optimizer.flat.theta))


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), num_probes=st.integers(1, 5))
def test_a_loss_that_raises_costs_nothing(scheme: Scheme, data: st.DataObject, num_probes: int) -> None:
    """Same parameters to the bit, one clean pass in the buffers, and the next step is the one that failed."""
    (net, loss_fn), (twin, twin_loss_fn) = conv_net(), conv_net()
    estimator = Estimator(num_probes=num_probes, scheme=scheme)
    optimizer, undisturbed = (ZerothOrder(each, rule=Adam(0.01), estimator=estimator) for each in (net, twin))
    for each, each_loss_fn in ((optimizer, loss_fn), (undisturbed, twin_loss_fn)):
        each.step(each_loss_fn)
    before, record = state_bits(net), optimizer.last_step
    with pytest.raises(FloatingPointError):
        optimizer.step(counted(loss_fn, [], raise_at=data.draw(st.integers(1, 1 + estimator.num_probe_forwards))))
    after = state_bits(net)
    assert all(torch.equal(after[name], before[name]) for name, _ in net.named_parameters())
    assert torch.equal(bits(optimizer.flat.theta), bits(optimizer.flat.work))
    assert optimizer.last_step is record
    assert net[1].num_batches_tracked == 2
    twin_loss_fn()
    assert same_bits(after, state_bits(twin))
    optimizer.step(loss_fn)
    undisturbed.step(twin_loss_fn)
    assert same_bits(state_bits(net), state_bits(twin))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_finds_the_minimum(distribution: Distribution, scheme: Scheme) -> None:
    """Of `|x - 1|^2 / 2`: with exact scalars the distance shrinks by (1 - r)^2 + r^2 (d + 1) / P < 0.96 a step."""
    module = nn.ParameterList([torch.full((6,), 3.0, dtype=torch.float64)])
    estimator = Estimator(1e-6, 4, distribution, scheme)
    optimizer = ZerothOrder(module, rule=SGD(0.1), estimator=estimator)
    for _ in range(200):
        optimizer.step(lambda: 0.5 * (module[0] - 1.0).square().sum())
    torch.testing.assert_close(module[0].detach(), torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-2)


def test_default_estimator() -> None:
    assert ZerothOrder(conv_net()[0], rule=SGD(0.1)).estimator == Estimator(1e-3, 1, "rademacher", "one_sided")
