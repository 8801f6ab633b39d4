"""The apps that `pyproject.toml` names: our recipes on Flower, without Flower's processes."""

import io
import json
import tomllib
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from heron.apps import client, server
from heron.config import build_clients, build_run, build_servers, load_splits, read_config, recipe_config
from heron.errors import CheckpointError, ConfigError
from heron.flower import DeploymentSettings
from tests.flower.grid import FakeGrid, Node, task_identity  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2]
APP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
SMALL = "clients.total=3 threads=1 client.local_steps=2"


def nodes(count: int = 3) -> FakeGrid:
    return FakeGrid(
        {10 + i: Node(client.app, Context(1, 10 + i, {"partition-id": i}, RecordDict(), {})) for i in range(count)}
    )


def run_server(grid: FakeGrid, **config: Any) -> None:
    server.app(grid, Context(7, 1, {}, RecordDict(), APP["config"] | config))


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "elapsed_s"} for row in rows]


@pytest.mark.parametrize("algorithm", ["heron", "sflv2"])
def test_a_recipe_on_flower_is_the_recipe(algorithm: str, tmp_path) -> None:
    out = tmp_path / "found"
    run_server(nodes(), algorithm=algorithm, rounds=2, set=SMALL, out=str(out))
    expected = build_run(recipe_config("digits", algorithm, [*SMALL.split(), "rounds=2"]), tmp_path / "expected")
    expected.train()
    expected.finish()
    assert rows_of(out) == rows_of(tmp_path / "expected")
    checkpoint = Path("checkpoint") / "state.safetensors"
    assert (out / checkpoint).read_bytes() == (tmp_path / "expected" / checkpoint).read_bytes()
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (out, tmp_path / "expected")]
    for summary in summaries:
        summary.pop("elapsed_s")
    assert summaries[0] == summaries[1]
    assert read_config(out) == recipe_config("digits", algorithm, [*SMALL.split(), "rounds=2"])


def test_a_run_is_resumed_from_its_directory_alone(tmp_path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_server(nodes(), rounds=3, set=SMALL, out=str(whole))
    grid = nodes()
    stop_after(grid, 2)
    with pytest.raises(Exception, match="round 3"):
        run_server(grid, rounds=3, set=SMALL, out=str(cut), retries=0, round_timeout_s=0.2)
    assert len(rows_of(cut)) == 2
    run_server(nodes(), resume=str(cut), recipe="ignored")
    assert rows_of(cut) == rows_of(whole)
    before = (cut / "metrics.jsonl").read_bytes()
    run_server(nodes(), resume=str(cut))  # a finished run is only finished again
    assert (cut / "metrics.jsonl").read_bytes() == before


def stop_after(grid: FakeGrid, rounds: int) -> None:
    node, seen = grid.nodes[11], []

    def silent(request: Any, reply: Any) -> Any:
        if request.metadata.message_type == "train.round":
            seen.append(1)
        return None if len(seen) > rounds else reply

    node.tamper = silent


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"recipe": "digts"}, ConfigError, "unknown recipe 'digts'; did you mean 'digits'"),
        ({"algorithm": "x"}, ConfigError, "unknown algorithm"),
        ({"set": "clientlearning_rate=1"}, ConfigError, "unknown key"),
        ({"set": "seed"}, ConfigError, "expected --set key=value, found 'seed'"),
        ({"set": "a='"}, ConfigError, "key=value pairs separated by blanks"),
        ({"set": 3}, ConfigError, "expected set as text, found 3"),
        ({"rounds": -1}, ConfigError, "rounds as an integer"),
        ({"rounds": "3"}, ConfigError, "rounds as an integer"),
        ({"min_clients": -2}, ConfigError, "min_clients of at least 0"),
        ({"set": "link.uplink_mbps=10"}, ConfigError, "where rounds take real time"),
        ({"resume": "nowhere"}, CheckpointError, "expected a run in nowhere, found no readable config.toml"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_written(
    config: dict[str, Any], error: type[Exception], message: str, tmp_path, monkeypatch, caplog
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        run_server(nodes(), **{"out": "out"} | config)
    assert not list(tmp_path.iterdir())
    assert "heron: run failed run=7 reason=" in caplog.text


def test_an_occupied_folder_is_refused(tmp_path) -> None:
    (tmp_path / "here").touch()
    with pytest.raises(CheckpointError, match="is not empty; choose another --out, or continue it with --run-config"):
        run_server(nodes(), out=str(tmp_path))


def test_values_with_blanks_and_the_recipe_s_own_rounds(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with server.plan_run(APP["config"] | {"set": "'client.exact=1' client.batch_size=16 seed=3"}) as plan:
        assert plan.rounds == recipe_config("digits", "heron", []).rounds
        assert plan.directory == Path("runs") / "digits-heron-seed3"
        with pytest.raises(CheckpointError, match="without another process at work"):
            run_server(nodes(), resume=str(plan.directory))
    config = read_config(plan.directory)
    assert (config.client.exact, config.client.batch_size, config.seed) == (1, 16, 3)


def test_a_node_has_its_own_threads_and_device() -> None:
    config = recipe_config("digits", "heron", ["threads=1"])
    terms = build_servers(config, load_splits(config)).terms
    clients = build_clients(terms, {"partition-id": 0, "threads": 1, "device": "cpu"})
    assert clients.terms.settings.device == "cpu"
    assert [len(clients.data(client_id)) for client_id in range(5)]
    with pytest.raises(ConfigError, match="device 'nonsense' cannot be used"):
        build_clients(terms, {"device": "nonsense"})
    with pytest.raises(ConfigError, match=r"threads: expected an integer in \[1, 1024\], found 0"):
        build_clients(terms, {"threads": 0})


def test_the_app_s_configuration_is_complete() -> None:
    defaults = {field.name: field.default for field in fields(DeploymentSettings)}
    known = {"recipe", "algorithm", "rounds", "set", "out", "resume"}
    assert APP["config"].keys() == defaults.keys() | known
    assert {key: APP["config"][key] for key in defaults} == defaults
    assert DeploymentSettings.read(APP["config"]) == DeploymentSettings()


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_the_bundle_holds_the_code_and_nothing_else() -> None:
    from flwr.cli.build import build_fab_from_disk

    with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(ROOT))) as bundle:
        names = set(bundle.namelist())
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "heron").rglob("*.py")}
    assert names == code | {"pyproject.toml", "LICENSE", ".info/CONTENT"}
    for name in APP["components"].values():
        assert name.split(":")[0].replace(".", "/") + ".py" in names
