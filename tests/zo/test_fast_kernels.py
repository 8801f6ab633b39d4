"""NumPy's and compiled kernels have the bits of torch's, whatever the numbers, sizes, threads and places in memory."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from heron.zo import SGD, Adam, FlatParameters, KernelName, Momentum, StepRecord, UpdateRule, replay_
from heron.zo import numba_kernel as numba_module
from heron.zo.cpu_tensors import OnCpuTensors
from heron.zo.kernel import AdamFactors, Kernel, Terms
from heron.zo.numba_kernel import NumbaKernel, numba_loops
from heron.zo.numpy_kernel import NumpyKernel
from heron.zo.torch_kernel import TorchKernel
from heron.zo.triton_kernel import TritonKernel, is_interpreted, triton_loops

ROOT = Path(__file__).parents[2]
RULES = [SGD(0.03), Momentum(0.03, 0.85), Adam(0.01, 0.8, 0.97, 1e-7)]
BY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
HUGE, TINY = float(np.finfo(np.float32).max), 1e-45  # the largest number and the smallest one, a denormal
ODD = st.sampled_from([0.0, -0.0, 1e-3, -1e-3, 1.0, TINY, -TINY, 1e-38, HUGE, -HUGE, float("inf"), float("nan")])
NUMBERS = st.one_of(ODD, st.floats(-4.0, 4.0, width=32))


def setup_module() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=["numpy", "numba", "triton"])
def fast(request: pytest.FixtureRequest) -> str:
    """A kernel that can run here."""
    skip_unless_it_runs(request.param)
    return str(request.param)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def skip_unless_it_runs(name: str) -> None:
    if name == "numba" and numba_loops() is None:
        pytest.skip("numba is not installed")
    if name == "triton" and (triton_loops() is None or not (is_interpreted() or torch.cuda.is_available())):
        pytest.skip("Triton needs a GPU; its interpreter has a test of its own")


def device_of(name: str) -> str:
    return "cuda" if name == "triton" and not is_interpreted() else "cpu"


def kernel_of(name: str) -> Kernel:
    skip_unless_it_runs(name)
    if name == "numpy":
        return OnCpuTensors(NumpyKernel("rademacher"))
    loops = numba_loops() if name == "numba" else triton_loops()
    assert loops is not None
    return OnCpuTensors(NumbaKernel(loops)) if name == "numba" else TritonKernel(loops)


def assert_same_bits(found: Tensor, expected: Tensor) -> None:
    """NaN is NaN: which of two it is that a sum of two keeps is up to the processor."""
    found, expected = found.cpu(), expected.cpu()
    assert torch.equal(found.isnan(), expected.isnan())
    kept = ~expected.isnan()
    assert torch.equal(found[kept].view(torch.int32), expected[kept].view(torch.int32))


def trained(
    kernel: KernelName, rule: UpdateRule, d: int, num_probes: int, num_steps: int = 3, device: str = "cpu"
) -> list[Tensor]:
    """`theta`, `work` and moments after some steps, and `work` after one more probe."""
    rng = np.random.default_rng([d, num_probes])
    start = torch.from_numpy(rng.standard_normal(d).astype(np.float32)).to(device)
    flat = FlatParameters(nn.ParameterList([start]), kernel=kernel)
    records = [record(rng, num_probes, device) for _ in range(num_steps)]
    state = replay_(rule, rule.init(flat.theta), flat, records)
    restored = flat.work.clone()
    flat.perturb_(2**63 + 5, -1e-3)
    return [flat.theta, restored, flat.work, *state.moments.values()]


def record(rng: np.random.Generator, num_probes: int, device: str = "cpu") -> StepRecord:
    seeds = rng.integers(0, 2**64 - 1, num_probes, dtype=np.uint64, endpoint=True)
    scalars = torch.from_numpy(rng.standard_normal(num_probes).astype(np.float32))
    return StepRecord(tuple(int(seed) for seed in seeds), scalars.to(device))


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(NUMBERS, min_size=1, max_size=150),
    terms=st.lists(st.tuples(st.integers(0, 2**64 - 1), NUMBERS), min_size=1, max_size=5),
    in_place=st.booleans(),
    copies=st.booleans(),
)
@pytest.mark.parametrize("name", ["numpy", "numba", "triton"])
def test_sums_of_any_numbers(
    name: str, values: list[float], terms: list[tuple[int, float]], in_place: bool, copies: bool
) -> None:
    """Denormals, signed zeros, overflow, infinity minus infinity; `out` may be `base`."""
    kernel, device = kernel_of(name), device_of(name)
    seeds = [seed for seed, _ in terms]
    scales_P = torch.tensor([scale for _, scale in terms], device=device)

    def outcome(kernel: Kernel) -> list[Tensor]:
        base = torch.tensor(values, dtype=torch.float32, device=device)
        out = base if in_place else torch.full_like(base, torch.nan)
        copy = torch.full_like(base, torch.nan) if copies else None
        kernel.add_directions_(out, base, seeds, scales_P, copy_to=copy)
        return [out, base, *([copy] if copy is not None else [])]

    for found, expected in zip(outcome(kernel), outcome(TorchKernel("rademacher")), strict=True):
        assert_same_bits(found, expected)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=100),
    steps=st.lists(st.lists(NUMBERS, min_size=1, max_size=3), min_size=1, max_size=4),
    epsilon=st.sampled_from([1e-8, 1e-3]),
)
@pytest.mark.parametrize("name", ["numpy", "numba", "triton"])
def test_moments_of_any_numbers(
    name: str, values: list[tuple[float, ...]], steps: list[list[float]], epsilon: float
) -> None:
    kernel, device = kernel_of(name), device_of(name)
    terms = [Terms(range(len(scales)), torch.tensor(scales, device=device)) for scales in steps]
    factors = AdamFactors(0.9, 0.999, epsilon, [0.1 * (t + 1) for t in range(len(steps))], [2.5] * len(steps))

    def outcome(kernel: Kernel) -> list[Tensor]:
        columns = torch.tensor(values, dtype=torch.float32, device=device).T.contiguous()
        momentum, adam = list(columns.clone()), list(columns.clone())
        works = [torch.full_like(momentum[0], torch.nan) for _ in range(2)]
        kernel.momentum_(momentum[0], works[0], momentum[1], terms, decay=0.9, rate=0.3)
        adam[2].abs_()
        kernel.adam_(adam[0], works[1], adam[1], adam[2], terms, factors)
        return [*momentum, *adam, *works]

    for found, expected in zip(outcome(kernel), outcome(TorchKernel("rademacher")), strict=True):
        assert_same_bits(found, expected)


@BY_RULE
@pytest.mark.parametrize("num_probes", [1, 2, 5])
@pytest.mark.parametrize("d", [1, 63, 64, 65, 128, 1000])
def test_steps_of_every_rule(fast: KernelName, rule: UpdateRule, num_probes: int, d: int) -> None:
    device = device_of(fast)
    found, expected = (trained(name, rule, d, num_probes, device=device) for name in (fast, "torch"))
    for one, other in zip(found, expected, strict=True):
        assert_same_bits(one, other)


@BY_RULE
@pytest.mark.parametrize("threads", [1, 2])
def test_a_million_and_one_entries(rule: UpdateRule, threads: int, two_threads: None) -> None:
    """Several blocks on each thread, and chunks of torch's kernel."""
    skip_unless_it_runs("numba")
    torch.set_num_threads(threads)
    for found, expected in zip(*(trained(name, rule, 1_000_001, 3) for name in ("numba", "torch")), strict=True):
        assert_same_bits(found, expected)


@BY_RULE
@pytest.mark.parametrize("block", [1, 3])
def test_threads_and_blocks_change_nothing(
    rule: UpdateRule, block: int, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless_it_runs("numba")
    expected = trained("torch", rule, 64 * 40 + 7, 3)
    monkeypatch.setattr(numba_module, "_BLOCK_WORDS", block)
    for found, other in zip(trained("numba", rule, 64 * 40 + 7, 3), expected, strict=True):
        assert_same_bits(found, other)


def test_words_are_shared_out_once(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_module, "_BLOCK_WORDS", 4)
    for num_words in (0, 1, 4, 5, 41):
        taken: list[range] = []
        numba_module._share_out(lambda *block, taken=taken: taken.append(range(*block)), num_words)
        assert sorted(word for block in taken for word in block) == list(range(num_words))


def test_as_many_threads_as_torch_uses(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that wait for each other: with one alone this would not end well."""
    import threading

    monkeypatch.setattr(numba_module, "_BLOCK_WORDS", 1)
    both = threading.Barrier(2, timeout=30)
    numba_module._share_out(lambda first, last: both.wait(), 2)
    torch.set_num_threads(1)
    callers: set[int] = set()
    numba_module._share_out(lambda first, last: callers.add(threading.get_ident()), 2)
    assert callers == {threading.get_ident()}


def test_an_error_in_a_thread_is_raised(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_module, "_BLOCK_WORDS", 1)

    def fail(first: int, last: int) -> None:
        raise KeyError(first)

    with pytest.raises(KeyError):
        numba_module._share_out(fail, 2)


@BY_RULE
@pytest.mark.parametrize("offset", [0, 1, 8])
def test_streaming_past_the_caches(rule: UpdateRule, offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the address is no multiple of 32 bytes nothing is streamed: that would end the process."""
    skip_unless_it_runs("numba")
    monkeypatch.setattr(numba_module, "_STREAM_ENTRIES", 1)
    kernel, d = kernel_of("numba"), 300
    base = torch.randn(d, generator=torch.Generator().manual_seed(0))
    terms = [Terms([3, 4], torch.tensor([0.5, -0.25]))]

    def outcome(kernel: Kernel) -> list[Tensor]:
        theta, velocity, out, work = (torch.zeros(d + offset)[offset:].copy_(base) for _ in range(4))
        kernel.add_directions_(out, base, terms[0].seeds, terms[0].scales_P)
        kernel.add_directions_(theta, theta, terms[0].seeds, terms[0].scales_P, copy_to=work)
        kernel.momentum_(theta, work, velocity, terms, decay=0.5, rate=0.1)
        return [theta, velocity, out, work]

    for found, expected in zip(outcome(kernel), outcome(TorchKernel("rademacher")), strict=True):
        assert_same_bits(found, expected)


def test_two_callers_at_once(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_it_runs("numba")
    monkeypatch.setattr(numba_module, "_BLOCK_WORDS", 2)
    expected = trained("torch", RULES[0], 5000, 2)
    with ThreadPoolExecutor(2) as pool:
        for outcome in pool.map(lambda _: trained("numba", RULES[0], 5000, 2), range(8)):
            for found, other in zip(outcome, expected, strict=True):
                assert_same_bits(found, other)


def in_a_process(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


USE = """
import numpy as np
from heron.zo.numba_kernel import NumbaKernel, numba_loops
base = np.zeros(64, np.float32)
NumbaKernel(numba_loops()).add_directions_(base, base, [1], np.ones(1, np.float32))
print(sum(numba_loops().add_terms.stats.cache_hits.values()))
"""


def test_a_second_process_does_not_compile(tmp_path: Path) -> None:
    skip_unless_it_runs("numba")
    assert [in_a_process(USE, NUMBA_CACHE_DIR=str(tmp_path)).strip() for _ in range(2)] == ["0", "1"]


MACHINE_CODE = """
from heron.zo import RULES, numba_loops
from tests.zo.test_fast_kernels import trained
for rule in RULES.values():
    trained("numba", rule(0.1), 64, 1)
for loop in (numba_loops.add_terms, numba_loops.momentum, numba_loops.adam):
    print("loop", *loop.inspect_asm().values())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86-64 instructions")
def test_machine_code_is_vectors_without_fused_products(tmp_path: Path) -> None:
    """Of a process that compiles: what comes from numba's cache cannot be looked into."""
    skip_unless_it_runs("numba")
    assemblies = in_a_process(MACHINE_CODE, NUMBA_CACHE_DIR=str(tmp_path)).split("loop ")[1:]
    assert len(assemblies) == 3
    for assembly in assemblies:
        assert "addps" in assembly
        assert "movntps" in assembly
        for wrong in ("addss", "mulss", "fmadd", "fmsub", "fnmadd", "rsqrt", "rcpps"):
            assert wrong not in assembly


def test_compiles_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_it_runs("numba")
    import numba

    from heron.zo import numba_loops as loops

    def refuse(function: object, **options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(function, **options)

    monkeypatch.setattr(loops, "njit", refuse)
    compiled = loops._compiled(loops._add_terms)
    base = np.zeros(64, np.float32)
    terms = np.array([1], np.uint64), np.array([1.0], np.float32).view(np.uint32), np.array([1 << 31], np.uint32)
    compiled((base, base, base), (0, 0, 1), False, terms, False)
    assert set(base.tolist()) == {-1.0, 1.0}


INTERPRETED = """
import torch
from tests.zo.test_fast_kernels import HUGE, RULES, TINY, assert_same_bits, kernel_of, trained
from heron.zo.numpy_kernel import NumpyKernel
from heron.zo.torch_kernel import TorchKernel
for rule in RULES:
    for d, num_probes in ((1, 1), (65, 3), (1025, 2)):
        for found, expected in zip(*(trained(name, rule, d, num_probes) for name in ("triton", "torch")), strict=True):
            assert_same_bits(found, expected)
odd = [0.0, -0.0, 1e-3, TINY, -TINY, HUGE, -HUGE, float("inf"), float("nan")]
base = torch.tensor(odd * 8)
for scale in odd:
    outs = torch.empty_like(base), torch.empty_like(base)
    for kernel, out in zip((kernel_of("triton"), TorchKernel("rademacher")), outs):
        kernel.add_directions_(out, base, [7, 2**64 - 1], torch.tensor([scale, 1e-3]))
    assert_same_bits(*outs)
print("equal")
"""


def test_in_the_interpreter_of_triton() -> None:
    """Without a GPU, in a process of its own: Triton reads the variable when it is imported."""
    if triton_loops() is None:
        pytest.skip("Triton is not installed")
    assert in_a_process(INTERPRETED, TRITON_INTERPRET="1").strip() == "equal"


PROGRAMS: dict[str, tuple[Sequence[str], dict[str, str]]] = {
    "add_terms": (("out", "base", "copy"), {"num_terms": "i32", "COPIES": "constexpr"}),
    "momentum": (
        ("theta", "work", "velocity"),
        {"stops": "*i32", "num_steps": "i32", "decay": "fp32", "rate": "fp32"},
    ),
    "adam": (
        ("theta", "work", "first", "second", "step_sizes", "root_scales"),
        {"stops": "*i32", "num_steps": "i32"} | dict.fromkeys(("beta1", "rest1", "beta2", "rest2", "epsilon"), "fp32"),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("size", ["i32", "i64"])
def test_compiles_for_cuda_without_fused_products(name: str, size: str) -> None:
    """Down to machine code, which needs no GPU; with fusion allowed, the products and sums are fused."""
    loops = triton_loops()
    if loops is None or is_interpreted():
        pytest.skip("Triton is not installed, or interprets")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    program = getattr(loops, name)
    tensors, others = PROGRAMS[name]
    types = dict.fromkeys(tensors, "*fp32") | others
    types |= {"size": size, "seeds": "*i64", "scales": "*fp32", "ROWS": "constexpr"}
    signature = {argument: types[argument] for argument in program.arg_names}
    constants = {"ROWS": 16} | ({"COPIES": True} if name == "add_terms" else {})

    def assembly(*, fused: bool) -> str:
        source = ASTSource(program, signature, constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": fused})
        assert compiled.asm["cubin"]
        return str(compiled.asm["ptx"])

    separate = assembly(fused=False)
    assert "add.rn.f32" in separate
    assert "fma.rn.f32" not in separate
    if name != "add_terms":
        assert "fma.rn.f32" in assembly(fused=True)
    if name == "adam":
        assert "sqrt.rn.f32" in separate
        assert "div.rn.f32" in separate
        assert "approx" not in separate
