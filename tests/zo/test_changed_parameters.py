"""Changes of the module between steps are taken over or refused, never ignored; a release gives it back."""

import copy
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heron.errors import ConfigError, SplitError
from heron.zo import RULES, SGD, Adam, Estimator, FlatParameters, Momentum, ZerothOrder
from tests.reference.problems import bits, conv_net, same_bits, state_bits


def setup_module() -> None:
    torch.set_num_threads(1)


def make_net(seed: int = 1) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 2))


def loss_of(net: nn.Module) -> Callable[[], Tensor]:
    inputs = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    return lambda: cross_entropy(net(inputs), (inputs.sum(dim=1) > 0).long())


def net_and_loss() -> tuple[nn.Sequential, Callable[[], Tensor]]:
    net = make_net()
    return net, loss_of(net)


def square(net: nn.Module) -> None:
    net[0].weight.data = net[0].weight.detach() * 2.0


def swap(net: nn.Module) -> None:
    """Two tensors of one shape change places."""
    net[0].bias.data, net[1].bias.data = net[1].bias.data, net[0].bias.data


def assign(net: nn.Module) -> None:
    net.load_state_dict(make_net(seed=2).state_dict(), assign=True)


def write_data(net: nn.Module) -> None:
    for parameter in net.parameters():
        parameter.data.mul_(0.5)


def write_some(net: nn.Module) -> None:
    net[3].weight.data[1, 3] = 0.0


def replace(net: nn.Module) -> None:
    net[3] = make_net(seed=3)[3]


ADOPTED: dict[str, Callable[[nn.Module], object]] = {
    "a second optimiser": lambda net: ZerothOrder(net, rule=SGD(1e-3)),
    "storage of their own": lambda net: FlatParameters(net).release_(),
    "assign": assign,
    "load_state_dict": lambda net: net.load_state_dict(make_net(seed=2).state_dict()),
    "there and back": lambda net: net.half().float(),
    "new data": square,
    "written data": write_data,
    "one entry": write_some,
    "new layer": replace,
    "other layout": lambda net: setattr(net[0].weight, "data", net[0].weight.detach().T.contiguous().T),
    "negated": lambda net: [parameter.data.neg_() for parameter in net.parameters()],
    "change places": swap,
}


@pytest.mark.parametrize("change", ADOPTED)
def test_the_module_is_trained_as_others_left_it(change: str) -> None:
    """As an optimiser that is made after the change; its moments are those from before it."""
    (net, loss_fn), (twin, loss_of_twin) = net_and_loss(), net_and_loss()
    optimizer = ZerothOrder(net, rule=Adam(1e-2), estimator=Estimator(num_probes=4))
    optimizer.step(loss_fn)
    kept = optimizer.state_dict()
    moments = {name: moment.clone() for name, moment in kept["moments"].items()}
    ADOPTED[change](net)
    twin.load_state_dict(net.state_dict())
    expected = ZerothOrder(twin, rule=Adam(1e-2), estimator=Estimator(num_probes=4))
    expected.load_state_dict({**kept, "moments": moments})
    for _ in range(3):
        assert torch.equal(optimizer.step(loss_fn), expected.step(loss_of_twin))
        assert same_bits(state_bits(net), state_bits(twin))
    flat = optimizer.flat
    assert all(parameter.untyped_storage().data_ptr() == flat.work.data_ptr() for parameter in net.parameters())


LARGE = 100_000


@pytest.mark.parametrize(
    ("num_steps", "change"),
    [
        (3, lambda weight: weight.mul_(0.5)),  # counted
        (5, lambda weight: weight.data.mul_(0.5)),  # seen in the sample
        (7, lambda weight: weight.data[1].mul_(0.5)),  # seen at the eighth call
    ],
)
def test_writes_to_many_parameters_are_taken_over_too(num_steps: int, change: Callable[[Tensor], object]) -> None:
    net, twin = nn.Linear(LARGE, 1), nn.Linear(LARGE, 1)
    twin.load_state_dict(net.state_dict())
    optimizers = [ZerothOrder(module, rule=SGD(1e-6)) for module in (net, twin)]
    inputs = torch.linspace(-1, 1, LARGE)
    for _ in range(num_steps):
        for optimizer, module in zip(optimizers, (net, twin), strict=True):
            optimizer.step(lambda module=module: module(inputs).square().sum())
    for module in (net, twin):
        with torch.no_grad():
            change(module.weight.view(-1)[:, None])
    expected = twin.weight.detach().clone()
    FlatParameters(twin)  # a new owner takes the parameters as they are
    optimizers[0].flat.adopt_()
    assert torch.equal(net.weight, expected)
    assert torch.equal(optimizers[0].flat.named_tensors()["weight"], expected)


def test_after_one_uncounted_write_every_entry_is_compared_at_every_step() -> None:
    net = nn.Linear(LARGE, 1)
    optimizer = ZerothOrder(net, rule=SGD(1e-6))
    inputs = torch.linspace(-1, 1, LARGE)
    for step in range(12):
        optimizer.step(lambda: net(inputs).square().sum())
        with torch.no_grad():
            net.weight.data[0, 1] = float(step)
    optimizer.flat.adopt_()
    assert float(optimizer.flat.named_tensors()["weight"][0, 1]) == 11.0


REFUSED: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "double": (nn.Module.double, "'0.weight' as it was taken, torch.float32 .* found torch.float64"),
    "bfloat16": (nn.Module.bfloat16, "'0.weight' as it was taken, torch.float32 .* found torch.bfloat16"),
    "device": (lambda net: net.to("meta"), "'0.weight' as it was taken, .* on cpu, found .* on meta"),
    "freeze": (lambda net: net[0].requires_grad_(False), "'0.bias' removed, shared or frozen"),
    "freeze all": (lambda net: net.requires_grad_(False), "'0.bias' removed, shared or frozen"),
    "add": (lambda net: net.append(nn.Linear(2, 2)), "'4.bias' new or unfrozen"),
    "remove": (lambda net: net.pop(3), "'3.bias' removed, shared or frozen"),
    "shape": (lambda net: setattr(net[0].weight, "data", torch.zeros(3, 10)), r"found .* of shape \(3, 10\)"),
    "parametrise": (
        lambda net: nn.utils.parametrizations.weight_norm(net[0]),
        "'0.parametrizations.weight.original0' new or unfrozen",
    ),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("change", REFUSED)
def test_another_set_of_parameters_is_refused(change: str, rule: str) -> None:
    net, loss_fn = net_and_loss()
    optimizer = ZerothOrder(net, rule=RULES[rule](1e-2))
    optimizer.step(loss_fn)
    do, message = REFUSED[change]
    do(net)
    before = state_bits(net) if change != "device" else {}
    with pytest.raises(SplitError, match=message) as caught:
        optimizer.step(loss_fn)
    assert "\n" not in str(caught.value)
    assert change == "device" or same_bits(state_bits(net), before)


def test_unfreezing_is_refused() -> None:
    net, loss_fn = net_and_loss()
    net[0].requires_grad_(False)
    optimizer = ZerothOrder(net, rule=SGD(1e-2))
    optimizer.step(loss_fn)
    net[0].requires_grad_(True)
    with pytest.raises(SplitError, match=r"found '0\.bias' new or unfrozen"):
        optimizer.step(loss_fn)


def test_a_copy_that_is_trained_instead_is_refused() -> None:
    net, _ = net_and_loss()
    optimizer = ZerothOrder(net, rule=Adam(1e-2))
    clone = copy.deepcopy(net)
    with pytest.raises(ConfigError, match="not with a copy of it"):
        optimizer.step(lambda: clone(torch.ones(3, 10)).square().mean())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_memory_shared_by_two_parameters_is_refused(after: bool) -> None:
    """They would silently become two when one is moved."""
    net, loss_fn = net_and_loss()
    optimizer = ZerothOrder(net, rule=SGD(1e-2)) if after else None
    net[0].bias.data = net[0].weight.data[:, 0].contiguous()
    net.register_buffer("seen", net[0].bias.data)
    with pytest.raises(SplitError, match=r"memory of their own, found '\w.*' and '\w.*' in the same"):
        ZerothOrder(net, rule=SGD(1e-2)) if optimizer is None else optimizer.step(loss_fn)


def test_uninitialised_parameters_are_refused_in_one_line() -> None:
    with pytest.raises(SplitError, match="found 'weight' without a shape; run the module once"):
        ZerothOrder(nn.LazyLinear(3), rule=SGD(1e-2))


def test_released_parameters_are_saved_as_before(tmp_path: Path) -> None:
    net, loss_fn = net_and_loss()
    optimizer = ZerothOrder(net, rule=Adam(1e-2))
    optimizer.step(loss_fn)
    values, path = state_bits(net), tmp_path / "model.safetensors"
    optimizer.release()
    assert same_bits(state_bits(net), values)
    save_model(net, str(path))
    loaded = make_net(seed=5)
    load_model(loaded, str(path))
    assert same_bits(state_bits(loaded), values)
    sizes = []
    for layer in (net[3], make_net()[3]):
        buffer = io.BytesIO()
        torch.save(layer.state_dict(), buffer)
        sizes.append(len(buffer.getvalue()))
    assert sizes[0] == sizes[1]


def test_releasing_frees_what_was_frozen_since_and_leaves_a_probe() -> None:
    net, _ = net_and_loss()
    flat = FlatParameters(net)
    before = state_bits(net)
    flat.perturb_(1, 0.5)
    net[0].requires_grad_(False)
    flat.release_()
    assert same_bits(state_bits(net), before)
    assert len({parameter.untyped_storage().data_ptr() for parameter in net.parameters()}) == 6


def test_training_continues_after_a_release() -> None:
    (net, loss_fn), (twin, loss_of_twin) = conv_net(), conv_net()
    one, other = (ZerothOrder(each, rule=Momentum(1e-2)) for each in (net, twin))
    for _ in range(3):
        one.step(loss_fn)
        one.release()
        other.step(loss_of_twin)
    assert same_bits(state_bits(net), state_bits(twin))


@pytest.mark.parametrize("rule", RULES)
def test_a_checkpoint_continues_bit_for_bit(rule: str) -> None:
    """Through `torch.save` and `torch.load` with its safe defaults, the module's state next to the optimiser's."""
    net, loss_fn = net_and_loss()
    optimizer = ZerothOrder(net, rule=RULES[rule](1e-2), estimator=Estimator(num_probes=2), seed=5)
    for _ in range(3):
        optimizer.step(loss_fn)
    buffer = io.BytesIO()
    torch.save({"module": net.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    for _ in range(3):
        optimizer.step(loss_fn)
    buffer.seek(0)
    saved, other = torch.load(buffer), make_net(seed=9)
    continued = ZerothOrder(other, rule=RULES[rule](1e-2), estimator=Estimator(num_probes=2))
    other.load_state_dict(saved["module"])
    continued.load_state_dict(saved["optimizer"])
    for _ in range(3):
        continued.step(loss_of(other))
    assert same_bits(state_bits(other), state_bits(net))
    assert continued.seed == 5
    assert continued.state.num_steps == 6


def test_a_state_of_another_rule_or_module_is_refused() -> None:
    (net, _), (other, _) = conv_net(), net_and_loss()
    state = ZerothOrder(net, rule=Adam(1e-2)).state_dict()
    for rule, module in ((SGD(1e-2), net), (Momentum(1e-2), net), (Adam(1e-2), other)):
        with pytest.raises(ConfigError, match="of this rule and module, found"):
            ZerothOrder(module, rule=rule).load_state_dict(state)


def test_a_schedule_assigns_rules_of_one_kind() -> None:
    net, loss_fn = conv_net()
    optimizer = ZerothOrder(net, rule=SGD(1.0))
    optimizer.rule = SGD(1e-30)
    before = bits(optimizer.flat.theta)
    optimizer.step(loss_fn)
    torch.testing.assert_close(bits(optimizer.flat.theta).view(torch.float32), before.view(torch.float32))
    assert optimizer.rule == SGD(1e-30)
    with pytest.raises(ConfigError, match="of the kind SGD, found Adam; make a new ZerothOrder"):
        optimizer.rule = Adam(1e-3)
