"""One table of all algorithms and their variants, one set of tests over every row."""

from collections import Counter
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.data import Splits
from heron.engines.in_process import Federation
from heron.privacy import Secret
from heron.privacy.vault import Vault
from heron.runs.checkpoint import load_checkpoint
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from heron.split import SplitModel, linear_head
from heron.wire import Message, encode
from heron.wire.groups import Client, Server, Settings
from heron.wire.network import DeviceProfile
from tests import tiers
from tests.settings import changed

NUM_CLIENTS, BATCH, CLASSES, CHANNELS = 3, 8, 4, 3
SIZES = (20, 16, 24)
FLEET = {"devices": tuple(DeviceProfile(f"d{i}", 1.0, 1.0, 1.0, 1.0, 0.0, (i,), 0, i) for i in range(NUM_CLIENTS))}
# Little noise, in passes whose length is known: what costs and resumption depend on is the same with more.
PRIVATE = {"local_steps": 3, "privacy": {"noise": 1e-3, "sampling": "passes", "delta": 1e-3}}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "heron, exact head": ("heron", {"exact": 1}),
    "heron, exact head and norm": ("heron", {"exact": 2, "exact_learning_rate": 2e-2}),
    "heron, all exact": ("heron", {"exact": "all"}),
    "heron, exact head without probes": ("heron", {"exact": 1, "estimator": {"probes": 0}}),
    "heron, scalars": ("heron", {"update": "scalars", "keep_state": False, "digest_period": 1}),
    "heron, exact head, scalars": ("heron", {"exact": 1, "update": "scalars", "keep_state": False}),
    "heron, seed groups": ("heron", {"optimizer": "sgd", "learning_rate": 0.1, "update": "scalars", "seed_groups": 2}),
    "heron, local exact": ("heron", {"learning": "local_exact", "learning_rate": 2e-2}),
    "heron, local zeroth order": ("heron", {"learning": "local_zeroth_order"}),
    "heron, local, exact heads": ("heron", {"learning": "local_zeroth_order", "exact": 1}),
    "heron, local, module above": ("heron", {"learning": "local_zeroth_order", "exact": 2, "local_pool": 2}),
    "local, one group": ("local", {"groups": 1}),
    "heron, exact head, private": ("heron", {"exact": 1} | PRIVATE),
    "heron, local, private": ("heron", {"learning": "local_zeroth_order"} | PRIVATE),
    "heron, fleet": ("heron", {"exact": "device", "link": FLEET}),
    "hosl, scalars": ("hosl", {"update": "scalars", "keep_state": False, "digest_period": 1}),
    "mu_splitfed, joint": (
        "mu_splitfed",
        {
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "server": {"joint_probes": True, "zeroth_steps": 12, "learning_rate": 0.05},
        },
    ),
    "ho_fl, nothing exact": ("ho_fl", {"exact": 0, "learning_rate": 2e-2, "estimator": {"probes": 4}}),
    "ho_fl, exact linear and norm": ("ho_fl", {"exact": 2, "exact_learning_rate": 2e-2}),
    "ho_fl, bottom frozen": ("ho_fl", {"exact": 1, "estimator": {"probes": 0}}),
    "ho_fl, seed group": ("ho_fl", {"exact": 1, "optimizer": "sgd", "learning_rate": 0.1, "seed_groups": 1}),
    "fedkseed, pro": (
        "fedkseed",
        {
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "estimator": {"probes": 4, "candidates": 128, "sampling": "pro", "scheme": "central"},
        },
    ),
}
"""Name -> algorithm and changes to its settings."""
# These clients have SGD only; a whole network takes more probes.
OWN: dict[str, dict[str, Any]] = {
    "ho_sfl": {"optimizer": "sgd", "learning_rate": 0.1},
    "mu_splitfed": {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "server": {"learning_rate": 0.05, "zeroth_steps": 12},
    },
    "ho_fl": {"exact": 1},
    "decomfl": {"optimizer": "sgd", "learning_rate": 0.1, "estimator": {"probes": 4}},
    "fedkseed": {"optimizer": "sgd", "learning_rate": 0.1, "estimator": {"probes": 4, "candidates": 128}},
}
ROWS = {name: (name, OWN.get(name, {})) for name in ALGORITHMS} | VARIANTS
EVERY = pytest.mark.parametrize("name", tiers.rows(ROWS, ALGORITHMS))
ALIKE = [name for name in ROWS if not {"fleet", "private"} & {*name.split(", ")}]
ONE_BOUNDARY = pytest.mark.parametrize("name", tiers.rows(ALIKE, ALGORITHMS))
"""Rows whose clients are all alike, and which every engine runs."""


def split_model(*, deep: bool = False, private: bool = False) -> SplitModel:
    """A client of one layer group, or of two; the same shape of smashed data. A private one mixes no examples."""
    torch.manual_seed(0)

    def norm() -> nn.Module:
        return nn.GroupNorm(1, CHANNELS) if private else nn.BatchNorm2d(CHANNELS)

    layers = [nn.Conv2d(1, CHANNELS, 3, padding=1), norm(), nn.ReLU(), nn.Dropout(0.0 if private else 0.1)]
    if deep:
        layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), norm(), nn.ReLU()]
    client = nn.Sequential(*layers)
    server = nn.Sequential(nn.Flatten(), nn.Linear(16 * CHANNELS, CLASSES))
    return SplitModel(client, server, linear_head((CHANNELS, 4, 4), CLASSES))


def equipped_split(parties: Federation) -> SplitModel:
    """The network of these parties, built anew."""
    deep, private = parties.split.local_heads is not None, parties.settings.privacy.is_on
    split = split_model(deep=deep, private=private)
    return parties.algorithm.equipped(split, parties.settings, examples().tensors[0][:2])


def examples(count: int = sum(SIZES)) -> TensorDataset:
    """Four classes, distinguished by the quarter of the picture that is bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % CLASSES
    inputs = 0.3 * torch.randn(count, 1, 4, 4, generator=generator)
    for index, label in enumerate(labels.tolist()):
        row, column = 2 * (label // 2), 2 * (label % 2)
        inputs[index, 0, row : row + 2, column : column + 2] += 1.0
    return TensorDataset(inputs, labels)


def partition() -> list[np.ndarray]:
    return np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])


def federation(name: str, **changes) -> Federation:
    settings = Settings(client=Client(batch_size=BATCH, learning_rate=1e-2), server=Server(learning_rate=1e-2))
    algorithm, own = ROWS[name]
    settings = changed(changed(settings, **changes), **own)
    split = split_model(deep="local" in name, private=settings.privacy.is_on)
    vault = Vault(Secret(bytes(32))) if settings.privacy.is_on else None
    return Federation(split, ALGORITHMS[algorithm], examples(), partition(), settings, vault=vault)


def run(name: str, directory: RunDirectory | None = None, rounds: int = 4, **changes) -> Run:
    data = examples()
    splits = Splits(train=data, validation=data, test=data, num_classes=CLASSES)
    return Run(federation(name, **changes), splits, rounds=rounds, directory=directory)


def comparable(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "elapsed_s"} for row in rows]


def tensors_of(parties: Federation) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in parties.state()[0].items()}


def sum_of_groups(groups: int, estimator: Any) -> int:
    """Bytes of a round's summed walks: as many steps as the client of a group with most makes; clients of any size."""
    steps = [max(-(-size // BATCH) for size in SIZES[group::groups]) for group in range(groups)]
    return sum(16 + count * estimator.num_probes * 4 for count in steps)


def batches_of(size: int, local_steps: int) -> list[int]:
    """Sizes of a client's batches in a round: of one pass over its data, or of so many steps."""
    one_pass = [min(BATCH, size - start) for start in range(0, size, BATCH)]
    return list(islice(cycle(one_pass), local_steps or len(one_pass)))


def num_bytes(tensors: dict[str, torch.Tensor]) -> int:
    """float32 parameters and statistics, int64 counters."""
    return sum((4 if tensor.dtype == torch.float32 else 8) * tensor.numel() for tensor in tensors.values())


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@EVERY
def test_learns_a_toy_task(name: str) -> None:
    rows = run(name, rounds=25).train()
    assert rows[-1]["test_accuracy"] > 0.85  # chance is 0.25
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


@EVERY
def test_same_seed_same_metrics_another_seed_others(name: str) -> None:
    first, second, other = (run(name, seed=seed).train() for seed in (0, 0, 1))
    assert comparable(first) == comparable(second)
    assert comparable(first) != comparable(other)


@EVERY
def test_wire_equals_reference_bit_for_bit(name: str) -> None:
    reference, wire = run(name, wire=False), run(name, wire=True)
    assert comparable(reference.train()) == comparable(wire.train())
    assert_equal(tensors_of(wire.federation), tensors_of(reference.federation))
    assert wire.federation.ledger.to_dict() == reference.federation.ledger.to_dict()


@EVERY
def test_resumes_bit_for_bit(name: str, tmp_path) -> None:
    whole = run(name, RunDirectory(tmp_path / "whole"))
    whole.train()
    run(name, RunDirectory(tmp_path / "cut"), rounds=2).train()
    resumed = run(name, RunDirectory(tmp_path / "cut"))
    assert resumed.restore() == 2
    resumed.train()
    assert comparable(resumed.directory.read_metrics()) == comparable(whole.directory.read_metrics())
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()
    assert load_checkpoint(whole.directory.checkpoint)[1]["next_round"] == 4


@EVERY
def test_ledger_equals_the_closed_form_to_the_byte(name: str) -> None:
    """Payload from docs/methods.md, "Traffic of a round"; framing from the length of each message encoded."""
    rounds, period = 2, 2
    parties = federation(name, upload_period=period)
    encoded = {"uplink": 0, "downlink": 0}

    def weigh(message: Message, direction: str) -> None:
        encoded[direction] += len(encode(message))

    parties.listeners.append(weigh)
    for _ in range(rounds):
        parties.run_round()
    # Uploads: steps 0, k, 2k, ... of each client's epoch; the last batch of an epoch holds what is left.
    algorithm, estimator = parties.algorithm, parties.clients.learning.estimator
    uploads, answers = algorithm.uploads, algorithm.answers
    every = {"periodic": period, "every_step": 1, "never": 10**9}[uploads]
    uploaded = 0
    for size in SIZES:
        batches = batches_of(size, parties.settings.client.local_steps)
        uploaded += sum(batches[::every]) if uploads != "never" else 0
    # Where the server evaluates probes, each of them goes up like the clean pass.
    passes = 1 + estimator.num_probe_forwards if answers == "loss" else 1
    smashed = passes * rounds * uploaded * CHANNELS * 16 * 4
    num_steps = sum(-(-size // BATCH) for size in SIZES)
    model, replayed = parties.learner.model(), parties.learner.replayed()
    rest = num_bytes({name: tensor for name, tensor in model.items() if name not in replayed})
    # Where replies are scalars, one for each probe of each step; they go down in the second round, from seed groups
    # summed, with four int32 for each walk.
    sent = num_steps * estimator.num_probes * 4 if replayed else 0
    groups = parties.clients.learning.settings.seed_groups
    log = sum_of_groups(groups, estimator) if groups else sent + NUM_CLIENTS * 16
    log = NUM_CLIENTS * log if replayed else 0
    learning = parties.clients.learning
    if (
        learning.candidates
    ):  # sums in place of scalars: a number for each candidate, of the round up, of all rounds down
        sums = learning.candidates * (2 if learning.settings.estimator.sampling == "pro" else 1) * 4
        sent, log = NUM_CLIENTS * sums, NUM_CLIENTS * (16 + sums)
    up = rounds * NUM_CLIENTS * rest
    snapshots = NUM_CLIENTS * (num_bytes(model) - rest) * (1 if replayed else rounds)
    down = up + snapshots + rounds * NUM_CLIENTS * num_bytes(parties.fed_server.downlink_only)
    expected_up = {"model": up, "scalars": rounds * (NUM_CLIENTS * 4 + sent)}
    if uploaded:
        expected_up |= {"smashed": smashed, "labels": passes * rounds * uploaded * 8}
    answered = {
        None: {},
        "cut_gradient": {"cut_gradient": smashed},
        "loss": {"scalars": passes * rounds * num_steps * 4},
    }
    expected_down = dict(Counter({"model": down, "scalars": log}) + Counter(answered[answers]))
    uplink, downlink = parties.ledger.by_kind("uplink"), parties.ledger.by_kind("downlink")
    assert {kind: size for kind, size in uplink.items() if kind != "framing"} == expected_up
    assert {kind: size for kind, size in downlink.items() if kind != "framing"} == expected_down
    assert parties.ledger.uplink_bytes == encoded["uplink"]
    assert parties.ledger.downlink_bytes == encoded["downlink"]


@EVERY
def test_partial_participation_is_drawn_from_seed_and_round(name: str) -> None:
    drawn = [federation(name, clients={"per_round": 2}).participants(index) for index in range(20)]
    assert drawn == [federation(name, clients={"per_round": 2}).participants(index) for index in range(20)]
    assert all(len(set(clients)) == 2 and clients == sorted(clients) for clients in drawn)
    assert {client for clients in drawn for client in clients} == set(range(NUM_CLIENTS))


@EVERY
def test_state_that_is_not_kept_is_not_stored(name: str) -> None:
    parties = federation(name, keep_state=False)
    parties.run_round()
    assert parties.state()[1]["client_states"] == {}


def test_only_trained_tensors_travel() -> None:
    frozen = federation("frozen").learner.model()
    assert all("running" in name or "num_batches" in name for name in frozen)
    assert any(name.startswith("auxiliary.") for name in federation("heron").learner.model())
