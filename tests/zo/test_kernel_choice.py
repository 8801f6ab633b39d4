"""Which kernel is taken, what is refused, and how often one passes over the parameters."""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from heron.arrays import Array
from heron.client.zeroth_order import ZerothOrderPart
from heron.config import build_run, recipe_config
from heron.errors import ConfigError
from heron.metering import measure_memory
from heron.wire.groups import Probes, Settings
from heron.wire.learning import Learning
from heron.zo import (
    RULES,
    SGD,
    Adam,
    Estimator,
    FlatArrays,
    FlatParameters,
    Momentum,
    Scheme,
    StepRecord,
    UpdateRule,
    ZerothOrder,
    replay_,
)
from heron.zo import steps as steps_module
from heron.zo.cpu_tensors import OnCpuTensors
from heron.zo.kernels import choose_kernel
from heron.zo.numba_kernel import NumbaKernel, numba_loops
from heron.zo.numpy_kernel import NumpyKernel
from heron.zo.stream import DISTRIBUTIONS, Distribution
from heron.zo.torch_kernel import TorchKernel
from heron.zo.triton_kernel import is_interpreted
from tests.reference.problems import bits, conv_net, same_bits, state_bits

LARGE = 1 << 23


def setup_module() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "heron.zo.numba_loops", None)
    numba_loops.cache_clear()
    yield
    numba_loops.cache_clear()


def kind_of(kernel: object) -> type:
    """Class of the kernel that does the work."""
    return type(kernel.kernel if isinstance(kernel, OnCpuTensors) else kernel)


@pytest.mark.parametrize("zeros", [torch.zeros, np.zeros], ids=["torch", "numpy"])
def test_automatically_the_fastest_that_can(zeros) -> None:
    if numba_loops() is None:
        pytest.skip("numba is not installed")
    single, double = torch.float32, torch.float64
    if zeros is np.zeros:
        single, double = np.float32, np.float64
    assert kind_of(choose_kernel("auto", zeros(LARGE, dtype=single), "rademacher")) is NumbaKernel
    assert kind_of(choose_kernel("auto", zeros(LARGE - 1, dtype=single), "rademacher")) is NumpyKernel
    assert kind_of(choose_kernel("auto", zeros(LARGE, dtype=double), "rademacher")) is NumpyKernel


def test_gaussian_directions_of_arrays_are_made_in_numpy() -> None:
    """Those of tensors by torch, whose logarithms, sines and cosines differ in a last bit here and there."""
    assert kind_of(choose_kernel("auto", np.zeros(1), "gaussian")) is NumpyKernel
    assert kind_of(choose_kernel("numpy", torch.zeros(1), "gaussian")) is NumpyKernel


@pytest.mark.parametrize(
    ("theta", "distribution"),
    [
        (torch.zeros(LARGE), "gaussian"),
        (torch.zeros(LARGE, dtype=torch.bfloat16), "rademacher"),
        (torch.zeros(LARGE, device="meta"), "rademacher"),
    ],
)
def test_automatically_torch(theta: Tensor, distribution: Distribution) -> None:
    assert isinstance(choose_kernel("auto", theta, distribution), TorchKernel)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["auto", "numpy", "numba"])
def test_fake_tensors_cost_what_real_ones_do(name, rule: str) -> None:
    """No tensor is made by a kernel of arrays; torch's makes some."""

    def peak(kernel, tensor) -> int:
        flat, law = FlatArrays({"x": tensor}, kernel=kernel), RULES[rule](0.1)
        state, record = law.init(flat.theta), StepRecord((1, 2), torch.ones(2))
        replay_(law, state, flat, [record])  # what is loaded or made once

        def step() -> None:
            flat.perturb_(1, 0.1)
            replay_(law, state, flat, [record])

        tensors = [flat.theta, flat.work, *state.moments.values()]
        return measure_memory(step, parameters=tensors).peak_bytes

    if name == "numba" and numba_loops() is None:
        pytest.skip("numba is not installed")
    real = peak(name, torch.zeros(1000))
    with FakeTensorMode():
        assert peak(name, torch.zeros(1000)) == real < peak("torch", torch.zeros(1000))
        assert isinstance(choose_kernel(name if name == "auto" else "torch", torch.zeros(9), "gaussian"), TorchKernel)


def test_numpy_where_numba_is_not_installed(without_numba: None) -> None:
    assert kind_of(choose_kernel("auto", torch.zeros(LARGE), "rademacher")) is NumpyKernel
    with pytest.raises(ConfigError, match=r"pip install 'heron-sfl\[fast\]'"):
        choose_kernel("numba", torch.zeros(1), "rademacher")


@pytest.mark.parametrize(
    ("name", "theta", "distribution", "message"),
    [
        ("cuda", torch.zeros(1), "rademacher", "expected a kernel of .*'numba'.* found 'cuda'"),
        ("numba", torch.zeros(1), "gaussian", "expected rademacher directions, found gaussian"),
        (
            "numba",
            torch.zeros(1, dtype=torch.float64),
            "rademacher",
            "float32 parameters, found torch.float64",
        ),
        ("numba", np.zeros(1), "rademacher", "float32 parameters, found float64"),
        ("numpy", np.zeros(1, np.longdouble), "rademacher", "parameters of at most 64 bits, found (float|longdouble)"),
        ("auto", np.zeros(1, np.longdouble), "rademacher", "parameters of at most 64 bits, found (float|longdouble)"),
        ("torch", np.zeros(1), "rademacher", "expected tensors, found NumPy arrays"),
        ("triton", np.zeros(1), "rademacher", "expected tensors, found NumPy arrays"),
        ("numpy", torch.zeros(1, device="meta"), "rademacher", "expected parameters on cpu, found them on meta"),
        ("numba", torch.zeros(1, device="meta"), "rademacher", "expected parameters on cpu, found them on meta"),
        ("triton", torch.zeros(1), "rademacher", "expected parameters on cuda, found them on cpu"),
    ],
)
def test_refuses_in_one_line(name, theta: Array, distribution: Distribution, message: str) -> None:
    if is_interpreted():
        pytest.skip("Triton's interpreter takes tensors on the CPU")
    with pytest.raises(ConfigError, match=message) as caught:
        choose_kernel(name, theta, distribution)
    assert "\n" not in str(caught.value)


def test_refuses_before_the_first_step() -> None:
    gaussian = Estimator(distribution="gaussian")
    with pytest.raises(ConfigError, match="rademacher"):
        ZerothOrder(conv_net()[0], rule=SGD(0.1), estimator=gaussian, kernel="numba")
    learning = Learning(Settings(estimator=Probes(distribution="gaussian")))
    with pytest.raises(ConfigError, match="rademacher"):
        ZerothOrderPart(FlatParameters(conv_net()[0], kernel="numba"), learning)


def test_the_configuration_chooses() -> None:
    with pytest.raises(ConfigError, match="kernel 'triton': expected parameters on cuda"):
        build_run(recipe_config("digits", "heron", ["client.kernel=triton", "client.exact=0"]), None)
    with pytest.raises(ConfigError, match=r"client\.kernel"):
        recipe_config("digits", "heron", ["client.kernel=fast"])


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("rule", [SGD(1e-2), Momentum(1e-2), Adam(1e-2)], ids=lambda rule: type(rule).__name__)
def test_training_does_not_depend_on_the_kernel(rule: UpdateRule, name) -> None:
    if name == "numba" and numba_loops() is None:
        pytest.skip("numba is not installed")

    def trained(kernel) -> nn.Module:
        net, loss_fn = conv_net()
        optimizer = ZerothOrder(net, rule=rule, estimator=Estimator(num_probes=2), seed=3, kernel=kernel)
        for _ in range(4):
            optimizer.step(loss_fn)
        kinds = {"numba": NumbaKernel, "numpy": NumpyKernel, "torch": TorchKernel}
        assert kind_of(optimizer.flat.kernel_for("rademacher")) is kinds[kernel]
        return net

    assert same_bits(state_bits(trained(name)), state_bits(trained("torch")))


class Counted:
    """A kernel that counts its passes over the parameters."""

    def __init__(self, kernel: object) -> None:
        self._kernel = kernel
        self.num_passes = 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        self.num_passes += 1
        operation: Callable[..., None] = getattr(self._kernel, name)
        return operation


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("scheme", "passes"), [("one_sided", 4), ("central", 7)])
def test_a_step_passes_over_the_parameters_once_a_probe_and_once_more(
    rule: str, scheme: Scheme, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """q = 3: q + 1, central differences 2 q + 1; nothing is copied beside."""
    net, loss_fn = conv_net()
    optimizer = ZerothOrder(net, rule=RULES[rule](1e-2), estimator=Estimator(num_probes=3, scheme=scheme))
    counted = Counted(TorchKernel("rademacher"))
    monkeypatch.setattr(optimizer.flat, "kernel_for", lambda distribution: counted)
    monkeypatch.setattr(Tensor, "copy_", refuse_whole(len(optimizer.flat)))
    optimizer.step(loss_fn)
    assert counted.num_passes == passes
    optimizer.flat.restore_()  # what the update has written is restored already


def refuse_whole(d: int) -> Callable[..., Tensor]:
    """`copy_` that fails on whole parameters unless torch's kernel calls it for its only chunk."""
    copy = Tensor.copy_

    def checked(self: Tensor, source: Tensor, *arguments: object) -> Tensor:
        caller = sys._getframe(1).f_code.co_filename
        assert self.numel() < d or "torch_kernel" in caller, "a pass over the parameters that no kernel makes"
        return copy(self, source, *arguments)

    return checked


@pytest.mark.parametrize("rule", RULES)
def test_a_replay_of_many_steps_is_one_pass(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = FlatParameters(conv_net()[0])
    counted = Counted(TorchKernel("rademacher"))
    monkeypatch.setattr(flat, "kernel_for", lambda distribution: counted)
    replay_(RULES[rule](1e-2), RULES[rule](1e-2).init(flat.theta), flat, steps(50))
    assert counted.num_passes == 1


@pytest.mark.parametrize("kernel", ["torch", "numpy", "numba"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps_per_pass", [1, 3, 256])
def test_a_replay_of_many_steps_has_the_bits_of_one_after_the_other(
    rule: str, distribution: Distribution, kernel, steps_per_pass: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps with different numbers of probes, and any number of them in a pass."""
    if kernel == "numba" and (distribution == "gaussian" or numba_loops() is None):
        pytest.skip("not for numba, or it is not installed")
    monkeypatch.setattr(steps_module, "_STEPS_PER_PASS", steps_per_pass)
    law = RULES[rule](1e-2)
    one, many = (FlatParameters(conv_net()[0], kernel=kernel) for _ in range(2))
    state = law.init(one.theta)
    for record in steps(8):
        state = law.replay_(state, one, [record], distribution)
    found = replay_(law, law.init(many.theta), many, iter(steps(8)), distribution)
    assert torch.equal(bits(many.theta), bits(one.theta))
    assert torch.equal(bits(many.work), bits(one.theta))
    assert found.num_steps == state.num_steps == 8
    assert all(torch.equal(bits(found.moments[name]), bits(state.moments[name])) for name in state.moments)


@pytest.mark.parametrize("rule", RULES)
def test_no_steps_change_nothing(rule: str) -> None:
    flat = FlatParameters(conv_net()[0])
    before = bits(flat.theta)
    law = RULES[rule](1e-2)
    assert replay_(law, law.init(flat.theta), flat, []).num_steps == 0
    assert law.replay_(law.init(flat.theta), flat, [], "rademacher").num_steps == 0
    assert torch.equal(bits(flat.theta), before)


def steps(number: int) -> list[StepRecord]:
    generator = torch.Generator().manual_seed(4)
    return [
        StepRecord(tuple(range(100 * n, 100 * n + 1 + n % 3)), torch.randn(1 + n % 3, generator=generator))
        for n in range(number)
    ]
