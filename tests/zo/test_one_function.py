"""Within a step the loss is one function of the parameters: one mask, one batch; what is not is refused by name."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from heron.errors import ConfigError, TrainingError
from heron.zo import RULES, SCHEMES, SGD, Adam, Estimator, Scheme, ZerothOrder
from tests.reference.problems import bits, conv_net, same_bits, state_bits


def setup_module() -> None:
    torch.set_num_threads(1)


def data(num_examples: int = 64) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(num_examples, 10, generator=torch.Generator().manual_seed(0))
    return inputs, (inputs.sum(dim=1) > 0).long()


def small_net(*layers: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(10, 16), nn.Tanh(), *layers, nn.Linear(16, 2))


class FunctionalDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, 0.3)


class Sequence(nn.Module):
    """A layer of sequences, at each example's ten numbers as ten tokens."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.layer(x.unsqueeze(2).repeat(1, 1, 4))
        return (outputs[0] if isinstance(outputs, tuple) else outputs).mean(dim=1).repeat(1, 4)


RANDOM = {
    "dropout": lambda: nn.Dropout(0.3),
    "functional": FunctionalDropout,
    "encoder": lambda: Sequence(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)),
    "recurrent": lambda: Sequence(nn.LSTM(4, 4, num_layers=2, dropout=0.3, batch_first=True)),
    "rrelu": nn.RReLU,
}


@pytest.mark.parametrize("scheme", ["one_sided", "central"])
@pytest.mark.parametrize("layer", RANDOM)
def test_random_layers_have_one_mask_a_step(layer: str, scheme: Scheme) -> None:
    """A difference of two masks over mu would be in the hundreds and more; the next step has other masks."""
    net, (inputs, labels) = small_net(RANDOM[layer]()), data()
    optimizer = ZerothOrder(net, rule=SGD(1e-30), estimator=Estimator(1e-4, num_probes=4, scheme=scheme))
    generator, losses = torch.get_rng_state(), []
    for _ in range(3):
        losses.append(float(optimizer.step(lambda: cross_entropy(net(inputs), labels))))
        assert optimizer.last_step is not None
        assert optimizer.last_step.projected_gradients_P.abs().max() < 30.0
    assert len(set(losses)) == 3
    assert torch.equal(torch.get_rng_state(), generator)


def test_training_with_dropout_learns_and_repeats() -> None:
    inputs, labels = data(256)

    def losses() -> list[float]:
        net = small_net(nn.Dropout(0.1))
        optimizer = ZerothOrder(net, rule=SGD(1e-2), estimator=Estimator(num_probes=4), seed=3)
        torch.rand(3)  # whatever else draws
        return [float(optimizer.step(lambda: cross_entropy(net(inputs), labels))) for _ in range(150)]

    found = losses()
    assert np.mean(found[-10:]) < 0.85 * np.mean(found[:10])
    assert losses() == found


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.randint(64, (8,)),
        lambda: torch.from_numpy(np.random.randint(64, size=8)),  # noqa: NPY002
        lambda: torch.tensor(random.sample(range(64), 8)),
    ],
    ids=["torch", "numpy", "python"],
)
def test_a_batch_that_is_drawn_in_the_loss_is_one_a_step(draw: Callable[[], Tensor]) -> None:
    net, (inputs, labels) = small_net(), data()
    optimizer, drawn = ZerothOrder(net, rule=SGD(1e-3), estimator=Estimator(num_probes=2)), []

    def loss() -> Tensor:
        drawn.append(draw())
        return cross_entropy(net(inputs[drawn[-1]]), labels[drawn[-1]])

    before = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    for _ in range(2):
        optimizer.step(loss)
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before  # noqa: NPY002
    assert len({tuple(indices.tolist()) for indices in drawn[:4]}) == 1
    assert len({tuple(indices.tolist()) for indices in drawn}) == 2


def batches_one_after_the_other(net: nn.Module) -> Callable[[], Tensor]:
    inputs, labels = data()
    numbers: Iterator[int] = iter(range(100))

    def loss() -> Tensor:
        chosen = slice(8 * (next(numbers) % 8), None)
        return cross_entropy(net(inputs[chosen]), labels[chosen])

    return loss


def noise_of_numpy(net: nn.Module) -> Callable[[], Tensor]:
    inputs, labels = data()
    generator = np.random.default_rng(0)
    return lambda: cross_entropy(net(inputs + float(generator.standard_normal())), labels)


def another_optimiser(net: nn.Module) -> Callable[[], Tensor]:
    inputs, labels = data()
    scale = nn.Parameter(torch.ones(()))
    other = torch.optim.SGD([scale], lr=0.1)

    def loss() -> Tensor:
        with torch.enable_grad():
            found = cross_entropy(scale * net(inputs).detach(), labels)
            found.backward()
        other.step()
        return cross_entropy(scale.detach() * net(inputs), labels)

    return loss


def changing_buffers(net: nn.Module) -> Callable[[], Tensor]:
    inputs, labels = data()
    with torch.random.fork_rng():
        nn.utils.spectral_norm(net[0])
    return lambda: cross_entropy(net(inputs), labels)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("make", [batches_one_after_the_other, noise_of_numpy, another_optimiser, changing_buffers])
def test_another_loss_at_the_same_parameters_is_refused(
    make: Callable[[nn.Module], Callable[[], Tensor]], scheme: Scheme
) -> None:
    net = small_net()
    loss = make(net)
    optimizer = ZerothOrder(net, rule=Adam(0.1), estimator=Estimator(scheme=scheme))
    before = {name: bits(parameter) for name, parameter in net.named_parameters()}
    for _ in range(2):  # it is refused again
        with pytest.raises(ConfigError, match=r"one function of the parameters within a step, found .* at the same"):
            optimizer.step(loss)
    assert same_bits({name: bits(parameter) for name, parameter in net.named_parameters()}, before)
    assert optimizer.last_step is None


@pytest.mark.parametrize("scheme", ["one_sided", "central"])
@pytest.mark.parametrize("first_step", [True, False])
def test_a_loss_that_writes_parameters_is_refused(first_step: bool, scheme: Scheme) -> None:
    net, loss_fn = conv_net()
    optimizer = ZerothOrder(net, rule=SGD(1e-2), estimator=Estimator(scheme=scheme))
    if not first_step:
        optimizer.step(loss_fn)
    before = {name: bits(parameter) for name, parameter in net.named_parameters()}

    def clipping() -> Tensor:
        loss = loss_fn()
        net[4].weight.clamp_(-0.3, 0.3)
        return loss

    with pytest.raises(ConfigError, match=r"only reads the parameters, found that it writes '4\.weight'"):
        optimizer.step(clipping)
    after = {name: bits(parameter) for name, parameter in net.named_parameters()}
    assert first_step or same_bits(after, before)  # the first clean pass has clipped what the caller clips


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    ("scheme", "call"), [("one_sided", n) for n in (1, 2, 3)] + [("central", n) for n in (1, 2, 5)]
)
def test_a_loss_that_is_not_finite_changes_nothing(rule: str, scheme: Scheme, bad: float, call: int) -> None:
    """In any pass of the second step (the first, which makes a pass more, is like it); then training continues."""
    (net, loss_fn), (twin, twin_loss_fn) = conv_net(), conv_net()
    estimator = Estimator(num_probes=2, scheme=scheme)
    optimizer, undisturbed = (ZerothOrder(each, rule=RULES[rule](1e-2), estimator=estimator) for each in (net, twin))
    optimizer.step(loss_fn)
    undisturbed.step(twin_loss_fn)
    before, record, calls = state_bits(net), optimizer.last_step, 0

    def failing() -> Tensor:
        nonlocal calls
        calls += 1
        return loss_fn() * (bad if calls == call else 1.0)

    with pytest.raises(TrainingError, match=r"finite losses, found .* in step 1; the parameters are as before"):
        optimizer.step(failing)
    after = state_bits(net)
    assert all(torch.equal(after[name], before[name]) for name, _ in net.named_parameters())
    assert torch.equal(bits(optimizer.flat.theta), bits(optimizer.flat.work))
    assert optimizer.last_step is record
    twin_loss_fn()  # one clean pass in the buffers
    optimizer.step(loss_fn)
    undisturbed.step(twin_loss_fn)
    assert same_bits(state_bits(net), state_bits(twin))


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_first_loss_that_is_not_finite_changes_nothing(call: int) -> None:
    net, loss_fn = conv_net()
    optimizer, calls = ZerothOrder(net, rule=Adam(1e-2)), 0
    before = bits(optimizer.flat.theta)

    def failing() -> Tensor:
        nonlocal calls
        calls += 1
        return loss_fn() * (float("inf") if calls == call else 1.0)

    with pytest.raises(TrainingError, match="expected finite losses, found"):
        optimizer.step(failing)
    assert torch.equal(bits(optimizer.flat.theta), before)
    assert torch.equal(bits(optimizer.flat.work), before)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (torch.ones(3), r"torch.float32 of shape \(3,\)"),
        (torch.ones(1), r"torch.float32 of shape \(1,\)"),
        (torch.tensor(1j), "torch.complex64"),
        (None, "NoneType"),
        ((torch.ones(()), torch.ones(3)), "tuple"),
        ({"loss": 1.0}, "dict"),
    ],
    ids=str,
)
def test_a_loss_that_is_not_one_number_is_refused(value: object, found: str) -> None:
    optimizer = ZerothOrder(nn.Linear(2, 2), rule=SGD(0.1))
    before = bits(optimizer.flat.theta)
    with pytest.raises(ConfigError, match=rf"one real number, shape \(\), found {found}.*; return e.g. loss.mean\(\)$"):
        optimizer.step(lambda: value)
    assert torch.equal(bits(optimizer.flat.theta), before)


@pytest.mark.parametrize("scheme", ["one_sided", "central"])
@pytest.mark.parametrize("kind", [float, np.float32, np.asarray], ids=["float", "scalar", "array"])
def test_numbers_of_other_kinds_are_losses(kind: Callable[[float], object], scheme: Scheme) -> None:
    (net, loss_fn), (twin, twin_loss_fn) = conv_net(), conv_net()
    estimator = Estimator(num_probes=2, scheme=scheme)
    one, other = (ZerothOrder(each, rule=SGD(1e-2), estimator=estimator) for each in (net, twin))
    one.step(lambda: kind(loss_fn().item()))
    other.step(twin_loss_fn)
    torch.testing.assert_close(one.flat.theta, other.flat.theta, rtol=0, atol=1e-4)
    assert not same_bits(state_bits(net), state_bits(conv_net()[0]))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_loss_of_another_module_is_refused(scheme: Scheme) -> None:
    (net, _), (_, loss_of_another) = conv_net(), conv_net()
    optimizer = ZerothOrder(net, rule=Adam(0.1), estimator=Estimator(num_probes=2, scheme=scheme))
    with pytest.raises(ConfigError, match="a loss of the module's parameters, found one that they do not change"):
        optimizer.step(loss_of_another)


def test_a_loss_of_another_module_is_refused_later_too() -> None:
    (net, loss_fn), (_, loss_of_another) = conv_net(), conv_net()
    optimizer = ZerothOrder(net, rule=Adam(1e-3))
    optimizer.step(loss_fn)
    for _ in range(9):
        optimizer.step(loss_of_another)
    with pytest.raises(ConfigError, match="found one that they do not change"):
        optimizer.step(loss_of_another)


@pytest.mark.parametrize(
    ("dtype", "mu", "smallest"),
    [(torch.bfloat16, 1e-3, "7.8e-03"), (torch.float16, 1e-4, "9.8e-04"), (torch.float32, 1e-9, "1.2e-07")],
    ids=str,
)
def test_a_radius_below_the_resolution_is_told_once_with_the_smallest(
    dtype: torch.dtype, mu: float, smallest: str
) -> None:
    module = nn.ParameterList([torch.ones(100, dtype=dtype)])

    def loss() -> Tensor:
        return (module[0].float() - 3.0).square().mean()

    optimizer = ZerothOrder(module, rule=SGD(1e-1), estimator=Estimator(mu))
    with pytest.warns(UserWarning, match="expected") as told:
        optimizer.step(loss)
    assert f"found mu={mu:g}, which rounds off in 100 of 100 in {dtype}; raise mu to {smallest}" in str(told[0].message)
    assert f"mu={mu:g} and parameters in {dtype}: nothing is learned" in str(told[1].message)
    assert [warning.filename for warning in told] == [__file__, __file__]
    optimizer.step(loss)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # In float32 it is the loss that resolves no less than 1e-5.
        useful = ZerothOrder(module, rule=SGD(1e-1), estimator=Estimator(max(float(smallest), 1e-5)))
        useful.step(loss)
    assert useful.last_step is not None
    assert useful.last_step.projected_gradients_P.all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_narrow_loss_is_told(dtype: torch.dtype) -> None:
    module = nn.ParameterList([torch.zeros(100, dtype=dtype)])
    optimizer = ZerothOrder(module, rule=SGD(1e-1), estimator=Estimator(1e-1))
    with pytest.warns(UserWarning, match=f"expected a loss in float32, found {dtype}"):
        optimizer.step(lambda: (module[0] - 3.0).square().mean())


@pytest.mark.parametrize("inside", [True, False], ids=["in the loss", "around the step"])
def test_probes_under_autocast_see_perturbed_weights(inside: bool) -> None:
    """Autocast keeps converted weights until its outermost context ends; probes would find those of the clean pass."""
    net, (inputs, labels) = small_net(), data()
    optimizer = ZerothOrder(net, rule=SGD(1e-2), estimator=Estimator(3e-2, num_probes=2))

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16) if inside else nullcontext():
            outputs = net(inputs)
        return cross_entropy(outputs.float(), labels)

    expected = ZerothOrder(small_net(), rule=SGD(1e-2), estimator=Estimator(3e-2, num_probes=2))
    with nullcontext() if inside else torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            optimizer.step(loss)
            with torch.autocast("cpu", enabled=False):
                expected.step(lambda: cross_entropy(expected.flat.module(inputs), labels))
            assert optimizer.last_step is not None
            assert expected.last_step is not None
            found, wanted = (each.last_step.projected_gradients_P.tolist() for each in (optimizer, expected))
            assert found == pytest.approx(wanted, abs=0.2)


def test_the_radius_is_judged_in_the_type_of_autocast() -> None:
    module = nn.ParameterList([torch.ones(100)])
    optimizer = ZerothOrder(module, rule=SGD(1e-1))
    with torch.autocast("cpu", torch.bfloat16), pytest.warns(UserWarning, match="100 of 100 in torch.bfloat16"):
        optimizer.step(lambda: module[0].square().mean())
