"""`heron.train`: every setting of a recipe, for a network of one's own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import heron
from heron.config import build_run, recipe_config
from heron.data import Digits, Splits
from heron.errors import CheckpointError, ConfigError, HeronError
from heron.split import DigitsCnn, SplitModel
from tests.conformance.test_algorithms import CLASSES, comparable, examples, split_model

START = heron.Settings(rounds=2, threads=1, clients=heron.Clients(total=3), client=heron.Client(batch_size=8))


def trained(**changes: Any) -> heron.TrainResult:
    return heron.train(split_model(), examples(), settings=START, **changes)


def refusal(**changes: Any) -> str:
    with pytest.raises(HeronError) as caught:
        trained(**changes)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_scalars_travel_in_place_of_what_learns_by_zeroth_order() -> None:
    sgd = {"optimizer": "sgd", "keep_state": False}
    dense, scalars = trained(client=sgd), trained(client=sgd, update="scalars")
    for name, tensor in dense.model.joined_state_dict().items():
        assert torch.equal(scalars.model.joined_state_dict()[name], tensor), name
    # 60 examples, 20 for each client: three steps of one probe; a float32 for each, and one for each reply's loss.
    assert scalars.uplink_bytes_by_kind["scalars"] == 2 * 3 * (3 + 1) * 4
    assert scalars.uplink_bytes_by_kind["model"] < dense.uplink_bytes_by_kind["model"]


def test_smashed_data_take_the_bits_that_are_asked_for() -> None:
    """A channel of 8 or 4 examples of 16 values: a byte for each, two float32 of scales, and the shape's four int32."""
    whole, packed = trained(), trained(smashed={"codec": "int8"})
    values = whole.uplink_bytes_by_kind["smashed"] // 4
    uploads = 2 * 3 * 3
    assert packed.uplink_bytes_by_kind["smashed"] == values + uploads * (3 * 8 + 16)
    assert packed.uplink_bytes_by_kind["labels"] * 8 == whole.uplink_bytes_by_kind["labels"]


def test_probes_count_in_scalars() -> None:
    sgd = {"optimizer": "sgd", "keep_state": False}
    result = trained(client=sgd, update="scalars", estimator=heron.Probes(probes=4))
    assert result.uplink_bytes_by_kind["scalars"] == 2 * 3 * (3 * 4 + 1) * 4


def test_the_best_client_of_the_readme_learns_the_same_as_from_the_command_line() -> None:
    """Exact layers, probes, a falling rate, states that are not kept: the recipe `digits`, bit for bit."""
    config = recipe_config("digits", "heron", ["rounds=4"])
    expected = build_run(config, None).train()

    def network() -> SplitModel:
        return DigitsCnn(cut="relu3").build(0)

    data = Digits(validation=0.2).load(seed=0)
    written = heron.train(
        network(),
        data,
        rounds=4,
        threads=1,
        client={
            "learning_rate": 1e-1,
            "exact": 2,
            "exact_learning_rate": 1e-2,
            "schedule": "cosine",
            "keep_state": False,
        },
        estimator={"probes": 2},
        server={"learning_rate": 1e-2},
    )
    assert comparable(written.metrics) == comparable(expected)
    taken = heron.train(network(), data, settings=config)
    assert comparable(taken.metrics) == comparable(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 1e-2}, "unknown key 'rate'"),
        ({"learning_rate": 1e-2}, "did you mean 'client.learning_rate'?"),
        ({"client": {"lr": 1e-2}}, "unknown key 'client.lr'; did you mean 'client.learning_rate'?"),
        ({"clients": {"totl": 3}}, "unknown key 'clients.totl'; did you mean 'clients.total'?"),
        ({"recipe": "digits"}, "unknown key 'recipe'"),
        (
            {"client": {"local_steps": 2.5}},
            "client.local_steps: expected an integer of at least 0, found 2.5",
        ),
        ({"rounds": 0}, "rounds: expected an integer of at least 1, found 0"),
        ({"clients": {"dropout": 1.0}}, "clients.dropout: expected a number in [0, 1), found 1.0"),
        (
            {"server": {"learning_rate": float("inf")}},
            "server.learning_rate: expected a finite number above 0, found inf",
        ),
        (
            {"fed_server": {"aggregation": "medain"}},
            "fed_server.aggregation: expected one of mean, median, trimmed_mean, found 'medain'; did",
        ),
        ({"update": "scalar"}, "update: expected one of dense, scalars, found 'scalar'; did you mean 'scalars'?"),
        (
            {"server": {"optimizer": "adamw"}},
            "server.optimizer: expected one of adam, sgd, found 'adamw'; did",
        ),
        ({"smashed": {"codec": "int7"}}, "smashed.codec: expected one of fp32, "),
        ({"clients": 5}, "clients: expected a mapping of some of its keys or heron.Clients, found 5"),
        ({"client": heron.Clients()}, "client: expected a mapping of some of its keys or heron.Client, found Clients("),
        ({"client": {"memory_budget": "64 apples"}}, "client.memory_budget: expected a size in bytes such as 64MiB"),
        ({"client": {"memory_budget": 64, "exact": 1}}, "client.memory_budget chooses client.exact"),
        ({"client": {"memory_budget": 64}}, "expected a memory budget of at least"),
        ({"link": {"profile": "nowhere.toml"}}, "expected a TOML file of device classes, found no file"),
        ({"clients": {"total": 1000}}, "clients.total"),
        ({"clients": {"per_round": 4}}, "expected clients.per_round from 1 to clients.total = 3, found 4"),
        ({"clients": {"partition": "natural"}}, "natural"),
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
        ({"algorithm": "heroon"}, "unknown algorithm 'heroon'; did you mean 'heron'?"),
        ({"algorithm": "cse_fsl", "update": "scalars"}, "expected update=dense"),
        ({"update": "scalars"}, "expected client.keep_state=false with update=scalars"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(**changes)


@pytest.mark.parametrize("settings", [{"rounds": 2}, heron.Client()])
def test_settings_are_settings(settings: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected settings as heron\.Settings"):
        heron.train(split_model(), examples(), settings=settings)


def test_everything_that_a_recipe_can_set_counts() -> None:
    """Settings that only the command line had: they reach the federation, and the run goes on as it was."""
    plain = trained()
    for changes in (
        {"clients": {"weighting": "examples", "partition": "dirichlet"}},
        {"clients": {"per_round": 2}},
        {"clients": {"dropout": 0.4}},
        {"client": {"schedule": "cosine"}},
        {"client": {"exact": 1}},
        {"server": {"refresh_auxiliary": True}},
        {"server": {"optimizer": "sgd"}},
        {"fed_server": {"optimizer": "adam"}},
        {"fed_server": {"aggregation": "median"}},
        {"seed": 1},
        {"update_codec": "int8"},
    ):
        assert comparable(trained(**changes).metrics) != comparable(plain.metrics), changes


def test_a_run_without_any_update_says_so(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no round had an update: the model is as it began"):
        result = trained(clients={"dropout": 0.99}, out=tmp_path)
    assert {row["clients"] for row in result.metrics} == {0}
    assert json.loads((tmp_path / "summary.json").read_text())["rounds_without_update"] == len(result.metrics)


def test_simulated_time_and_a_memory_budget_of_an_own_network() -> None:
    link = {"uplink_mbps": 1.0, "client_gflops": 1.0, "server_gflops": 10.0}
    rows = trained(link=link).metrics
    assert 0 < rows[0]["simulated_s"] < rows[1]["simulated_s"]
    roomy, exact = trained(client={"memory_budget": "1GiB"}), trained(client={"exact": "all"})
    assert comparable(roomy.metrics) == comparable(exact.metrics)


def test_splits_bring_validation_data_and_owners() -> None:
    data = examples()
    owners = torch.arange(len(data)).numpy() % 3
    splits = Splits(data, validation=data, test=data, num_classes=CLASSES, groups=owners)
    result = heron.train(split_model(), splits, settings=START, clients={"partition": "natural"}, evaluation_period=2)
    assert [("validation_accuracy" in row) for row in result.metrics] == [False, True]
    with pytest.raises(ConfigError, match="expected test examples once"):
        heron.train(split_model(), splits, test=data, settings=START)


def test_an_interrupted_run_goes_on_and_threads_are_as_before(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    whole = trained(rounds=4)
    trained(rounds=2, out=tmp_path)
    assert comparable(trained(rounds=4, out=tmp_path).metrics) == comparable(whole.metrics)
    with pytest.raises(CheckpointError, match=r"expected seed=0, with which the run there began, found 1"):
        trained(rounds=4, seed=1, out=tmp_path)
    assert torch.get_num_threads() == before
