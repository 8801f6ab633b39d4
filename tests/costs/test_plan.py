"""A step on fake tensors costs what the real one does."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.costs.client_step import ExampleShape, StepCost
from heron.costs.plan import largest_exact, plan_step
from heron.costs.profile import profile_step
from heron.engines.in_process import Federation
from heron.engines.profile import profile_client
from heron.errors import ConfigError, SplitError
from heron.split import SplitModel, build_seeded, digits_cnn, num_client_modules, resnet18
from heron.wire import CODECS, packed_bytes
from heron.wire.groups import Client, Probes, Settings, Smashed
from heron.wire.privacy import Privacy
from tests.settings import changed
from tests.tiers import rows

ALL_DIGITS = num_client_modules(digits_cnn().client)
BATCH = 16
HERON = ALGORITHMS["heron"]


def digits() -> SplitModel:
    return build_seeded(digits_cnn, 0)


def small_resnet() -> SplitModel:
    return build_seeded(lambda: resnet18(width=8), 0)


def grouped_resnet() -> SplitModel:
    return build_seeded(lambda: resnet18(width=8, norm="group", cut_layer="block2"), 0)


def with_dropout() -> SplitModel:
    client = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    return SplitModel(
        client, nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    )


SHAPES = {digits: (1, 8, 8), small_resnet: (3, 32, 32), grouped_resnet: (3, 32, 32), with_dropout: (1, 8, 8)}


def settings_of(**changes) -> Settings:
    return changed(Settings(client=Client(batch_size=BATCH, learning_rate=1e-2)), **changes)


def both(build, name="heron", **options) -> tuple[StepCost, StepCost]:
    """Planned and measured."""
    settings = settings_of(**options)
    dataset = TensorDataset(torch.rand(BATCH, *SHAPES[build]), torch.arange(BATCH) % 10)
    parties = Federation(build(), ALGORITHMS[name], dataset, [np.arange(BATCH)], settings)
    measured = profile_client(parties, repeats=1).to_dict()
    del measured["seconds_per_step"]
    return plan_step(build, ALGORITHMS[name], settings, ExampleShape(SHAPES[build])), StepCost(**measured)


@pytest.mark.parametrize("micro_batch", [0, 5])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("exact", rows(range(ALL_DIGITS + 1), {1, ALL_DIGITS}))
def test_digits_at_every_boundary(exact, checkpointing, micro_batch):
    planned, measured = both(digits, exact=exact, checkpointing=checkpointing, micro_batch=micro_batch)
    assert planned == measured
    assert sum(planned.memory_breakdown_bytes.values()) == planned.peak_memory_bytes > 0


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        pytest.param(name, rule, marks=[] if rule == algorithm.optimizers[0] else pytest.mark.slow)
        for name, algorithm in ALGORITHMS.items()
        for rule in algorithm.optimizers
    ],
)
def test_every_algorithm_and_optimizer(name, optimizer):
    planned, measured = both(digits, name, optimizer=optimizer)
    assert planned == measured


@pytest.mark.parametrize(
    "estimator",
    [Probes(probes=3, scheme="central"), Probes(distribution="gaussian"), Probes(scheme="jvp")],
)
def test_every_kind_of_probe(estimator):
    planned, measured = both(digits, estimator=estimator, exact=1)
    assert planned == measured


@pytest.mark.parametrize("checkpointing", rows([False, True], {False}))
@pytest.mark.parametrize("exact", rows([0, 1, 2, 3, 4, 5], {2}))
def test_resnet(exact, checkpointing):
    planned, measured = both(small_resnet, exact=exact, checkpointing=checkpointing)
    assert planned == measured


@pytest.mark.parametrize("name", rows(["cse_fsl", "sflv2", "frozen"], {"sflv2"}))
def test_resnet_of_the_others(name):
    planned, measured = both(small_resnet, name)
    assert planned == measured


@pytest.mark.parametrize("exact", rows([0, 1, 3, "all"], {1}))
def test_group_norm_in_micro_batches(exact):
    planned, measured = both(grouped_resnet, exact=exact, micro_batch=8)
    assert planned == measured


@pytest.mark.parametrize("exact", rows([0, 1, 2, "all"], {1, "all"}))
def test_dropout(exact):
    planned, measured = both(with_dropout, exact=exact)
    assert planned == measured


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [0, 5])
@pytest.mark.parametrize("client", [{}, {"exact": 1}, {"learning": "local_zeroth_order"}, {"learning": "local_exact"}])
def test_private_clients(client, micro_batch):
    planned, measured = both(digits, privacy=Privacy(noise=1.0), local_steps=1, micro_batch=micro_batch, **client)
    assert planned == measured


def peaks_of_digits() -> list[int]:
    return [
        plan_step(digits, HERON, settings_of(exact=exact), ExampleShape(SHAPES[digits])).peak_memory_bytes
        for exact in range(ALL_DIGITS + 1)
    ]


def test_the_largest_that_fits_is_chosen():
    peaks = peaks_of_digits()
    for budget in {*peaks, *(peak - 1 for peak in peaks), *(peak + 1 for peak in peaks)}:
        fitting = [exact for exact, peak in enumerate(peaks) if peak <= budget]
        if fitting:
            assert (
                largest_exact(digits, HERON, settings_of(memory_budget=budget), ExampleShape(SHAPES[digits]))
                == fitting[-1]
            )
        else:
            with pytest.raises(
                ConfigError, match=rf"at least {min(peaks):,} bytes.*client\.exact=0.*batch_size"
            ) as caught:
                largest_exact(digits, HERON, settings_of(memory_budget=budget), ExampleShape(SHAPES[digits]))
            assert len(str(caught.value).splitlines()) == 1
    assert len(set(peaks)) == ALL_DIGITS + 1, "budgets between all neighbours were tried"


@pytest.mark.parametrize("name", ["heron", "sflv2", "hosl"])
@pytest.mark.parametrize("codec", CODECS)
def test_smashed_bytes_are_those_of_the_packed_form(name, codec):
    """Bytes of the batch by `packed_bytes`; probes, and everything that hosl sends, stay exact."""
    algorithm, exact = ALGORITHMS[name], settings_of()
    packed = dataclasses.replace(exact, smashed=Smashed(codec, zstd=True))
    example = ExampleShape(SHAPES[digits])
    plain, found = (plan_step(digits, algorithm, settings, example) for settings in (exact, packed))
    shape = (BATCH, *digits().smashed_shape)
    expected = plain.smashed_bytes_per_step if name == "hosl" else packed_bytes(shape, codec)
    assert found.smashed_bytes_per_step == expected
    assert dataclasses.replace(found, smashed_bytes_per_step=plain.smashed_bytes_per_step) == plain
    measured = profile_step(digits(), algorithm, packed, example, repeats=1)
    assert measured.smashed_bytes_per_step == expected


def test_without_probes_something_is_exact():
    with pytest.raises(ConfigError, match=r"client\.exact=1"):
        largest_exact(
            digits, HERON, settings_of(estimator={"probes": 0}, memory_budget=1), ExampleShape(SHAPES[digits])
        )


def test_what_cannot_run_is_refused():
    settings = settings_of(micro_batch=4)
    with pytest.raises(SplitError, match="BatchNorm"):
        plan_step(small_resnet, HERON, settings, ExampleShape(SHAPES[small_resnet]))


def test_planning_leaves_generators_and_real_networks_alone():
    state, network = torch.get_rng_state(), digits()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plan_step(digits, HERON, settings_of(), ExampleShape(SHAPES[digits]))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert type(torch.zeros(1)) is torch.Tensor
