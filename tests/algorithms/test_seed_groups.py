"""Seed groups: the summed form equals averaging what clients became; with dense updates directions are shared, too."""

import copy
import random
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.arrays import dtype_name
from heron.engines.in_process import Federation
from heron.wire.groups import Client, Clients, Probes, Server, Settings
from heron.wire.learning import Learning
from heron.wire.walks import Replayer, RoundWalks, Walk, schedule_of, summed
from tests.algorithms.scalar_runs import record
from tests.algorithms.test_oracles import BATCH, NUM_CLIENTS, ROUNDS, SEED, data, order, small_split
from tests.reference.seed_groups import averaged_walks, heron_in_groups

SHARES = [np.arange(0, 5), np.arange(5, 20), np.arange(20, 30)]  # 2, 4 and 3 local steps
MU, RATE, SERVER_RATE, PROBES = 1e-2, 0.05, 0.1, 2


def settings_of(groups: int) -> Settings:
    return Settings(
        seed=SEED,
        update="scalars",
        seed_groups=groups,
        client=Client(batch_size=BATCH, optimizer="sgd", learning_rate=RATE, keep_state=False),
        estimator=Probes(MU, PROBES),
        server=Server("sgd", SERVER_RATE),
    )


def federation(update: str, groups: int, dtype: torch.dtype, weighting: str = "equal") -> Federation:
    inputs, labels = data()[0].tensors
    setup = replace(settings_of(groups), update=update, clients=Clients(weighting=weighting))
    return Federation(
        small_split().to(dtype), ALGORITHMS["heron"], TensorDataset(inputs.to(dtype), labels), SHARES, setup
    )


@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize(
    ("update", "groups", "dtype", "allowed"),
    [
        *[("scalars", groups, torch.float64, 1e-12) for groups in (0, 1, 2, 3)],
        *[("dense", groups, torch.float32, 0.0) for groups in (1, 2)],
        ("scalars", 0, torch.float32, 0.0),
        ("scalars", 2, torch.float32, 1e-5),
    ],
)
def test_equals_the_literal_oracle(update, groups, dtype, allowed, weighting: str) -> None:
    parties = federation(update, groups, dtype, weighting)
    parts = copy.deepcopy((parties.split.client, parties.split.auxiliary, parties.split.server))
    theta_l, theta_s = heron_in_groups(
        *parts,
        *parties.dataset.tensors,
        order(SHARES),
        groups=groups,
        weights=[1.0] * NUM_CLIENTS if weighting == "equal" else [float(len(share)) for share in SHARES],
        rounds=ROUNDS,
        run_seed=SEED,
        mu=MU,
        probes=PROBES,
        client_rate=RATE,
        server_rate=SERVER_RATE,
    )
    for _ in range(ROUNDS):
        parties.run_round()
    model = parties.fed_server.global_model()
    found = [model[name] for name in parties.learner.model()]
    expected = [*theta_l, *theta_s]
    found += [parameter.detach() for parameter in parties.split.server.parameters()]
    assert len(found) == len(expected)
    worst = max(float((mine - theirs).abs().max()) for mine, theirs in zip(found, expected, strict=True))
    assert worst <= allowed


@given(
    groups=st.integers(1, 3),
    steps=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    probes=st.integers(1, 3),
    even=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_summed_form_is_the_mean_of_what_clients_became(groups, steps, probes, even, seed) -> None:
    """In float64 to 1e-12, clients with different numbers of steps, weights alike and not."""
    draw = random.Random(seed)
    scalars = [[[draw.gauss(0, 1) for _ in range(probes)] for _ in range(count)] for count in steps]
    weights = [1 if even else draw.randint(1, 500) for _ in steps]
    theta = torch.tensor([draw.gauss(0, 1) for _ in range(70)], dtype=torch.float64)
    walks = [
        Walk(schedule_of(index, groups), weight, np.array([*chain(*each)], np.float64))
        for index, (weight, each) in enumerate(zip(weights, scalars, strict=True))
    ]
    replayer = Replayer(Learning(replace(settings_of(groups), seed=SEED, estimator=Probes(MU, probes))))
    found = replayer.advance(
        {"a": theta[:50].view(5, 10), "b": theta[50:]}, RoundWalks(4, tuple(summed(walks, dtype_name(theta))))
    )
    literal = [
        (index % groups, float(weight), each) for index, (weight, each) in enumerate(zip(weights, scalars, strict=True))
    ]
    expected = averaged_walks(theta, literal, run_seed=SEED, round_index=4, rate=RATE)
    joined = torch.cat([found["a"].reshape(-1), found["b"]])
    assert float((joined - expected).abs().max()) <= 1e-12
    assert len(summed(walks, dtype_name(theta))) == min(groups, len(steps))


def test_a_log_of_groups_holds_one_walk_for_each() -> None:
    parties = federation("scalars", 2, torch.float32)
    parties.run_round()
    messages = record(parties)
    parties.run_round()
    entries = next(message.entries for message in messages if hasattr(message, "entries"))
    # Round, group, weight, scalars: clients 0 and 2 (2 and 3 steps) are group 0, client 1 (4 steps) group 1.
    assert entries.tolist() == [[0, 0, 1, 3 * PROBES], [0, 1, 1, 4 * PROBES]]


def test_clients_of_a_group_share_directions_with_dense_updates() -> None:
    parties = federation("dense", 2, torch.float32)
    seeds = {}
    step = parties.learner.step

    def watch(batch, key):
        result = yield from step(batch, key)
        seeds[key.round_index, key.client_id, key.local_step] = parties.learner.last_step.seeds
        return result

    parties.learner.step = watch
    parties.run_round()
    assert seeds[0, 0, 1] == seeds[0, 2, 1]
    assert not set(seeds[0, 0, 1]) & set(seeds[0, 1, 1])
    assert len(set(seeds[0, 0, 0] + seeds[0, 0, 1])) == 2 * PROBES
