"""The array core: without torch, on NumPy arrays, with the bits that tensors have."""

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import heron.zo
from heron.arrays import to_host
from heron.errors import ConfigError, MessageError, SplitError
from heron.zo import (
    DISTRIBUTIONS,
    RULES,
    Distribution,
    Estimator,
    FlatArrays,
    FlatParameters,
    Scheme,
    StepRecord,
    replay_,
)
from heron.zo import numpy_kernel as kernel_module

DTYPES = [np.float32, np.float64]
SEEDS = (2**64 - 1, 0, 12345)


def setup_module() -> None:
    torch.set_num_threads(1)


WITHOUT_TORCH = """
import sys
import numpy as np
from heron.zo import RULES, SGD, Estimator, FlatArrays, StepRecord, derive_seed, direction, replay_, uniform_16
flat = FlatArrays({"weight": np.ones((2, 3), np.float32), "bias": np.zeros(100, np.float32)})
estimator = Estimator(num_probes=2, scheme="central")
for rule in RULES.values():
    state = rule(0.1).init(flat.theta)
    for step in range(2):
        seeds = tuple(derive_seed("direction", 0, step, probe) for probe in range(2))
        scalars_P = estimator.projected_gradients_(flat, lambda: np.square(flat.work).sum(), seeds)
        assert scalars_P.dtype == np.float32
        state = replay_(rule(0.1), state, flat, [StepRecord(seeds, scalars_P)])
assert np.array_equal(flat.theta, flat.work)
direction(1, 0, 5, distribution="gaussian"), uniform_16(1, 0, 5)
assert "torch" not in sys.modules
import heron.zo
assert heron.zo.FlatParameters and "torch" in sys.modules
"""


def test_a_process_that_probes_and_replays_arrays_has_no_torch() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True)


def test_the_face_names_what_type_checkers_see() -> None:
    tree = ast.parse(Path(heron.zo.__file__).read_text())
    seen = {
        (alias.name, node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("heron.zo.")
        for alias in node.names
    }
    homes = next(node for node in ast.walk(tree) if isinstance(node, ast.Dict))
    table = set(ast.literal_eval(homes).items())
    assert {pair for pair in table if pair[1].startswith("heron.zo.")} == seen
    for name, home in table:
        assert getattr(heron.zo, name) is getattr(import_module(home), name)


@settings(max_examples=60, deadline=None)
@given(
    d=st.integers(1, 400),
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    dtype=st.sampled_from(DTYPES),
    chunk=st.sampled_from([64, 100, 192, 1 << 16]),
)
@pytest.mark.parametrize("rule", RULES)
def test_a_replay_of_arrays_has_the_bits_of_torchs_kernel(
    rule: str, d: int, counts: list[int], dtype: type, chunk: int
) -> None:
    """Any size, several steps of several probes, chunks from whole words and from parts of words."""
    rng = np.random.default_rng([d, *counts])
    start = rng.standard_normal(d).astype(dtype)
    records = [
        (tuple(rng.integers(0, 2**64 - 1, count, dtype=np.uint64).tolist()), rng.standard_normal(count).astype(dtype))
        for count in counts
    ]
    law, arrays = RULES[rule](0.05), FlatArrays({"x": start}, kernel="numpy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_module, "_CHUNK_ENTRIES", chunk)
        state = replay_(law, law.init(arrays.theta), arrays, [StepRecord(*record) for record in records])
        arrays.perturb_(5, 1e-3)
    module = nn.ParameterList([torch.from_numpy(start.copy())])
    tensors = FlatParameters(module, kernel="torch")
    in_torch = [StepRecord(seeds, torch.from_numpy(scalars)) for seeds, scalars in records]
    expected = replay_(law, law.init(tensors.theta), tensors, in_torch)
    tensors.perturb_(5, 1e-3)
    assert arrays.theta.tobytes() == tensors.theta.numpy().tobytes()
    assert arrays.work.tobytes() == tensors.work.numpy().tobytes()
    assert state.num_steps == expected.num_steps == len(counts)
    for name, moment in expected.moments.items():
        assert state.moments[name].tobytes() == moment.numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("d", [10_000, (1 << 16) + 77, 1_000_001])
def test_kernels_of_arrays_and_tensors_agree_at_any_size(rule: str, d: int, dtype: type) -> None:
    """By default: numba where it pays, NumPy elsewhere, for arrays as for tensors; torch's kernel has the same bits."""
    start = np.random.default_rng(d).standard_normal(d).astype(dtype)
    records = [StepRecord(SEEDS[: 1 + n % 3], np.linspace(-1, 2, 1 + n % 3).astype(dtype)) for n in range(4)]
    in_torch = [StepRecord(record.seeds, torch.from_numpy(record.projected_gradients_P)) for record in records]
    law = RULES[rule](0.05)
    flats = [
        FlatArrays({"x": start}),
        FlatArrays({"x": start}, kernel="numpy"),
        FlatArrays({"x": torch.from_numpy(start)}),
        FlatArrays({"x": torch.from_numpy(start)}, kernel="torch"),
    ]
    for flat in flats:
        replay_(law, law.init(flat.theta), flat, in_torch if isinstance(flat.theta, torch.Tensor) else records)
    assert len({to_host(flat.theta).tobytes() for flat in flats}) == 1
    assert len({to_host(flat.work).tobytes() for flat in flats}) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_a_gaussian_replay_of_arrays_agrees_to_rounding(rule: str, dtype: type) -> None:
    """Logarithm, sine and cosine are another library's: a last bit in float64, hence hardly ever one in float32."""
    start = np.random.default_rng(0).standard_normal(2001).astype(dtype)
    scalars_P = np.array([0.5, -0.25, 2.0], dtype)
    law = RULES[rule](0.05)
    arrays, tensors = FlatArrays({"x": start}), FlatArrays({"x": torch.from_numpy(start)})
    replay_(law, law.init(arrays.theta), arrays, 3 * [StepRecord(SEEDS, scalars_P)], "gaussian")
    in_torch = StepRecord(SEEDS, torch.from_numpy(scalars_P))
    replay_(law, law.init(tensors.theta), tensors, 3 * [in_torch], "gaussian")
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(arrays.theta, tensors.theta.numpy(), rtol=100 * eps, atol=100 * eps)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("scheme", ["one_sided", "central"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_probes_of_arrays_equal_those_of_tensors(distribution: Distribution, scheme: Scheme, dtype: type) -> None:
    start = np.linspace(-1.0, 1.0, 333).astype(dtype)
    arrays, tensors = FlatArrays({"x": start}), FlatArrays({"x": torch.from_numpy(start)})
    estimator = Estimator(num_probes=3, distribution=distribution, scheme=scheme)

    def probed(flat):
        def loss():
            return flat.work[7] * flat.work[200]

        return estimator.projected_gradients(flat, loss, SEEDS, loss())

    found, expected = probed(arrays), probed(tensors)
    assert found.dtype == dtype
    if distribution == "rademacher":
        assert found.tobytes() == expected.numpy().tobytes()
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3 if dtype is np.float32 else 1e-9)
    assert np.array_equal(arrays.work, start)
    assert np.array_equal(arrays.theta, start)


def test_half_precision_losses_are_differenced_in_single() -> None:
    flat = FlatArrays({"x": np.ones(10)})
    losses = iter(np.array([2.0, 1.0], np.float16))
    found = Estimator(mu=0.5, scheme="central").projected_gradients(flat, lambda: next(losses), [3])
    assert (found.dtype, found.tolist()) == (np.float32, [1.0])


def test_forward_mode_is_refused_by_name() -> None:
    flat = FlatArrays({"x": np.ones(10)})
    with pytest.raises(ConfigError, match="parameters of a torch module for scheme 'jvp'"):
        Estimator(scheme="jvp").projected_gradients(flat, flat.work.sum, [1])


def test_a_loss_that_raises_leaves_no_trace() -> None:
    flat = FlatArrays({"x": np.arange(10.0)})

    def failing() -> float:
        raise KeyError

    with pytest.raises(KeyError):
        Estimator().projected_gradients_(flat, failing, [1], np.float64(0.0))
    assert np.array_equal(flat.work, np.arange(10.0))


@pytest.mark.parametrize("rule", RULES)
def test_what_diverges_overflows_without_a_warning(rule: str) -> None:
    flat = FlatArrays({"x": np.full(70, 3e38, np.float32)})
    law = RULES[rule](1e38)
    scalars_P = Estimator().projected_gradients_(flat, lambda: np.float32(np.inf), [1], np.float32(np.inf))
    assert np.isnan(scalars_P).all()
    huge = StepRecord((1,), np.array([3e38], np.float32))
    replay_(law, law.init(flat.theta), flat, [StepRecord((1,), scalars_P), huge])
    assert not np.isfinite(flat.theta).any()


def test_arrays_keep_their_names_and_shapes() -> None:
    named = {"weight": np.arange(6.0).reshape(2, 3).T, "scale": np.array(7.0), "none": np.zeros((0, 2))}
    flat = FlatArrays(named)
    assert len(flat) == 7
    assert all(np.array_equal(view, named[name]) for name, view in flat.named_tensors().items())
    flat.named_tensors()["scale"][...] = 8.0
    assert flat.theta[-1] == 8.0
    assert named["scale"] == 7.0


@pytest.mark.parametrize("kind", [np, torch])
def test_loading_takes_either_kind_of_array(kind) -> None:
    new = {"b": kind.ones(2), "a": kind.full((2, 2), 3.0)}
    module = nn.ParameterDict({"a": torch.zeros(2, 2), "b": torch.zeros(2)})
    for flat in (FlatArrays({"a": np.zeros((2, 2)), "b": np.zeros(2)}), FlatParameters(module)):
        flat.load_(new)
        assert flat.theta.tolist() == flat.work.tolist() == [3.0, 3.0, 3.0, 3.0, 1.0, 1.0]
        with pytest.raises(MessageError, match=r"expected shape \(2,\), found None"):
            flat.load_({"a": new["a"]})


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "found none"),
        ({"x": np.zeros(1, np.int64)}, "expected floating parameters, found int64 in 'x'"),
        ({"x": np.zeros(1), "y": np.zeros(1, np.float32)}, "float64 on cpu in 'x' and float32 on cpu in 'y'"),
    ],
)
def test_arrays_that_cannot_be_flattened(named: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        FlatArrays(named)


THREADS = """
import sys
from heron.zo.numba_kernel import num_threads
print(num_threads())
import torch
torch.set_num_threads(3)
assert num_threads() == 3
"""


def test_numba_takes_as_many_threads_as_torch_or_the_environment() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "5"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS], check=True, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.strip() == "5"
