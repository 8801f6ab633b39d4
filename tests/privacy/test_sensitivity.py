"""Sensitivity of every private client: one example less moves what a step releases by at most what the noise is for.

Looked at are the integers before the noise, in the code of the clients on real networks. Compared are a batch and the
same without one example, in units of the noise: a release of clip C that has k times the noise counts its distance
over k C, and all releases of a step together may move by 1. Floating-point losses are those of single examples where
micro-batches have one; with any size where nothing rounds, for which numbers here are multiples of small powers of 2.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.client.step import ClientLearner
from heron.data import Batch
from heron.privacy import Secret, VectorMechanism
from heron.privacy.vault import Vault
from heron.seeds import StepKey
from heron.split import SplitModel
from heron.wire.groups import Client, Probes, Settings
from heron.wire.learning import Learning
from heron.wire.privacy import Privacy
from tests import tiers

INPUTS, CLASSES, GROUPS, PROBES, NOISE, STEPS = 4, 3, 2, 3, 2.0, 2**30
ROWS = {
    "heron": ("heron", {}, cross_entropy),
    "decomfl": ("decomfl", {}, cross_entropy),
    "layer groups": ("heron", {"learning": "local_zeroth_order"}, cross_entropy),
    "exact layer groups": ("local", {}, cross_entropy),
    "exact head in closed form": ("heron", {"exact": 1}, cross_entropy),
    "exact head by torch.func": ("heron", {"exact": 1}, partial(cross_entropy, label_smoothing=0.25)),
    "cse_fsl": ("cse_fsl", {}, cross_entropy),
    "fedavg": ("fedavg", {}, cross_entropy),
}
"""Name -> algorithm, changes of `[client]`, and criterion."""
EVERY = pytest.mark.parametrize("row", ROWS)
SLOWLY = pytest.mark.parametrize("row", tiers.rows(ROWS, ["layer groups", "exact layer groups"]))


def network(dtype: torch.dtype) -> SplitModel:
    """Linear layers and ReLU, whose weights are multiples of 1/8."""
    torch.manual_seed(3)
    part = nn.Sequential(nn.Linear(INPUTS, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    heads = [nn.Sequential(nn.Flatten(), nn.Linear(3, CLASSES)) for _ in range(2)]
    return SplitModel(part, *heads).to(dtype)


@cache
def client(row: str, micro_batch: int, dtype: torch.dtype) -> tuple[ClientLearner, dict[str, Tensor]]:
    """A client, which is loaded anew for every step, and its parameters."""
    name, changes, criterion = ROWS[row]
    chosen = Settings(
        client=Client(
            batch_size=4, local_steps=1, optimizer="sgd", keep_state=False, micro_batch=micro_batch, **changes
        ),
        privacy=Privacy(noise=NOISE, clip=0.5, exact_clip=0.25),
        estimator=Probes(2.0**-4, PROBES),
    )
    algorithm = ALGORITHMS[name]
    split = algorithm.equipped(network(dtype), chosen, torch.zeros(2, INPUTS, dtype=dtype))
    with torch.no_grad():
        for parameter in split.parameters():
            parameter.copy_(torch.round(8 * parameter) / 8)
    runtime = algorithm.torch_runtime(split, criterion, chosen)
    learner = algorithm.client(runtime, Learning(algorithm.learning(chosen).settings, vault=Vault(Secret(bytes(32)))))
    return learner, {name: copy.deepcopy(tensor) for name, tensor in runtime.tensors().items()} | {
        name: tensor.clone() for name, tensor in learner.model().items()
    }


@contextmanager
def noted() -> Iterator[list[tuple[float, np.ndarray]]]:
    """List what is released: the noise in units of the noise of one release, and the sum in grid points."""
    found: list[tuple[float, np.ndarray]] = []
    release = VectorMechanism.release

    def noting(self: VectorMechanism, total_D: np.ndarray, normals_D: np.ndarray) -> np.ndarray:
        found.append((self.noise / NOISE, total_D))
        return release(self, total_D, normals_D)

    with patch.object(VectorMechanism, "release", noting):
        yield found


def released(row: str, batch: Batch, micro_batch: int, dtype: torch.dtype) -> list[tuple[float, np.ndarray]]:
    learner, start = client(row, micro_batch, dtype)
    learner.load({name: start[name] for name in learner.model()}, {})
    with noted() as found:
        step = learner.step(batch, StepKey(0, 0, 0, 0))
        next(step)
        with pytest.raises(StopIteration):
            step.send(None)
    return found


def without(batch: Batch, dropped: int) -> Batch:
    kept = [index for index in range(len(batch)) if index != dropped % len(batch)]
    return Batch(batch.inputs[kept], batch.labels[kept])


def moved(row: str, batch: Batch, other: Batch, micro_batch: int, dtype: torch.dtype = torch.float64) -> float:
    """By how much the releases of two batches differ, in units of what their noise is for; exact integers."""
    pairs = zip(released(row, batch, micro_batch, dtype), released(row, other, micro_batch, dtype), strict=True)
    return sum(sum(int(point) ** 2 for point in one - two) / (STEPS * noise) ** 2 for (noise, one), (_, two) in pairs)


def batches(elements: st.SearchStrategy[float], dtype: torch.dtype) -> st.SearchStrategy[Batch]:
    def drawn(number: int) -> st.SearchStrategy[Batch]:
        inputs = hnp.arrays(np.float64, (number, INPUTS), elements=elements)
        labels = hnp.arrays(np.int64, number, elements=st.sampled_from([*range(CLASSES), -100]))
        with np.errstate(over="ignore"):
            return st.builds(
                lambda inputs, labels: Batch(torch.from_numpy(inputs).to(dtype), torch.from_numpy(labels)),
                inputs,
                labels,
            )

    return st.integers(1, 5).flatmap(drawn)


ANY = st.floats(allow_nan=True, allow_infinity=True, width=64)
ON_A_GRID = st.one_of(
    st.integers(-64, 64).map(lambda number: number / 8), st.sampled_from([np.nan, np.inf, -np.inf, 2.0**30])
)


@SLOWLY
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
def test_an_example_moves_a_step_by_at_most_what_the_noise_is_for(row: str, dtype: torch.dtype) -> None:
    """Whatever its inputs are; micro-batches of one, in which no other example rounds its losses."""

    @given(batches(ANY, dtype), st.integers(0, 4))
    @settings(max_examples=20, deadline=None)
    def holds(batch: Batch, dropped: int) -> None:
        assert moved(row, batch, without(batch, dropped), 1, dtype) <= 1.0

    holds()


@SLOWLY
def test_micro_batches_of_any_size_release_the_same_integers(row: str) -> None:
    @given(batches(ON_A_GRID, torch.float64), st.integers(0, 4), st.integers(1, 4))
    @settings(max_examples=20, deadline=None)
    def holds(batch: Batch, dropped: int, micro_batch: int) -> None:
        whole, pieces = (released(row, batch, size, torch.float64) for size in (0, micro_batch))
        for (noise, one), (other, two) in zip(whole, pieces, strict=True):
            assert noise == other
            assert np.array_equal(one, two)
        assert moved(row, batch, without(batch, dropped), micro_batch) <= 1.0

    holds()


@pytest.mark.parametrize("row", [row for row in ROWS if row != "layer groups"])
def test_the_bound_is_reached(row: str) -> None:
    """So the tests above are not empty: an example of large inputs has the norm of all clips."""
    batch = Batch(torch.full((1, INPUTS), 64.0, dtype=torch.float64), torch.tensor([2]))
    assert moved(row, batch, without(batch, 0), 0) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@EVERY
def test_an_example_that_is_not_finite_changes_no_other(row: str, value: float) -> None:
    """What it contributes is nothing or has the norm of the clip; the others contribute what they did."""
    generator = torch.Generator().manual_seed(0)
    others = torch.round(8 * torch.randn(3, INPUTS, generator=generator, dtype=torch.float64)) / 8
    labels = torch.tensor([0, 1, 2])
    broken = Batch(torch.cat([others, torch.full((1, INPUTS), value, dtype=torch.float64)]), torch.tensor([0, 1, 2, 1]))
    found, rest = (released(row, each, 1, torch.float64) for each in (broken, Batch(others, labels)))
    for (_, one), (_, two) in zip(found, rest, strict=True):
        assert two.any()
        if np.isfinite(value):
            assert sum(int(point) ** 2 for point in one - two) <= STEPS**2
        else:
            assert np.array_equal(one, two)


def clipped_in_parts(parts: int) -> object:
    whole = VectorMechanism.clipped_sum
    return lambda self, vectors: np.concatenate([whole(self, part) for part in np.split(vectors, parts, axis=1)])


@pytest.mark.parametrize(("row", "parts"), [("layer groups", GROUPS), ("heron", PROBES)])
def test_groups_or_probes_that_are_clipped_one_by_one_move_it_by_more(row: str, parts: int) -> None:
    batch = Batch(torch.full((1, INPUTS), 64.0, dtype=torch.float64), torch.tensor([2]))
    assert moved(row, batch, without(batch, 0), 0) <= 1.0
    with patch.object(VectorMechanism, "clipped_sum", clipped_in_parts(parts)):
        assert moved(row, batch, without(batch, 0), 0) > 1.2


def test_two_releases_with_the_noise_of_one_move_it_by_more() -> None:
    batch = Batch(torch.full((1, INPUTS), 64.0, dtype=torch.float64), torch.tensor([2]))
    whole = Learning.mechanism
    client.cache_clear()
    with patch.object(Learning, "mechanism", lambda self, **_: whole(self, num_parts=1)):
        assert moved("exact head in closed form", batch, without(batch, 0), 0) > 1.5
    client.cache_clear()


def test_micro_batches_that_are_averaged_before_the_clip_move_it_by_more() -> None:
    """One example turns the mean of a micro-batch over, which counts as often as it has examples."""
    whole = VectorMechanism.clipped_sum

    def averaged(self: VectorMechanism, vectors: np.ndarray) -> np.ndarray:
        return whole(self, vectors.mean(0, keepdims=True)) * len(vectors) if len(vectors) else whole(self, vectors)

    inputs = torch.tensor([[64.0] * INPUTS] * 4, dtype=torch.float64)
    inputs[3] *= 1000
    batch = Batch(inputs, torch.tensor([2, 2, 2, 1]))
    with patch.object(VectorMechanism, "clipped_sum", averaged):
        assert moved("cse_fsl", batch, without(batch, 3), 0) > 1.2
