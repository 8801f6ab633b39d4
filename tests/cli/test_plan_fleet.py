"""`heron plan --memory device`, and runs whose clients have the boundaries that fit their devices."""

import json
from pathlib import Path

import pytest

from heron.cli.main import main
from heron.config import from_toml, plan_cost, recipe_config

LINE = "uplink_mbps = 10\ndownlink_mbps = 40\nlatency_ms = 25\nspeed = 1\n"
BUDGETS = {"tag": 139_500, "phone": 160_000, "box": 190_000, "workstation": 2**20}


def written(path: Path, budgets: dict[str, int]) -> str:
    clients = {"tag": [0], "phone": [1, 4], "box": [2], "workstation": [3]}
    path.write_text(
        "".join(f"[{name}]\n{LINE}memory_budget = {budgets[name]}\nclients = {ids}\n" for name, ids in clients.items())
    )
    return f"link.profile={path}"


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> str:
    return written(tmp_path_factory.mktemp("fleet") / "fleet.toml", BUDGETS)


@pytest.mark.parametrize("algorithm", ["heron", pytest.param("ho_fl", marks=pytest.mark.slow)])
def test_each_class_gets_the_largest_that_fits(algorithm: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "plan.json"
    more = 0 if algorithm == "heron" else 25_000  # the whole network is there
    profile = written(tmp_path / "fleet.toml", {name: budget + more for name, budget in BUDGETS.items()})
    command = ["plan", "digits", "--memory", "device", "--algorithm", algorithm, "--set", profile, "--json", str(path)]
    assert main(command) == 0
    plan = json.loads(path.read_text())
    assert [(row["device"], row["clients"]) for row in plan["rows"]] == [
        ("tag", [0]),
        ("phone", [1, 4]),
        ("box", [2]),
        ("workstation", [3]),
    ]
    peaks = {
        exact: plan_cost(recipe_config("digits", algorithm, [f"client.exact={exact}"])).peak_memory_bytes
        for exact in (0, 1, 2, 3, 4)
    }
    for row in plan["rows"]:
        assert row["peak_memory_bytes"] == peaks.get(row["exact"], row["peak_memory_bytes"]) <= row["memory_bytes"]
        assert peaks.get(row["exact"] + 1, 2**30) > row["memory_bytes"]
    assert len({row["exact"] for row in plan["rows"]}) >= 3
    printed = capsys.readouterr().out
    assert "--set client.memory_budget=device" in printed
    assert all(name in printed for name in BUDGETS)


def test_a_run_of_a_fleet_is_saved_with_its_boundaries_and_resumed(profile: str, tmp_path: Path, capsys) -> None:
    common = ["train", "digits", "--set", profile, "--set", "client.memory_budget=device", "--set", "rounds=2"]
    common += ["--set", "client.schedule=constant"]  # a number of rounds does not change the rates
    assert main([*common, "--out", str(tmp_path / "whole")]) == 0
    assert "client.exact of tag (139,500 bytes) 0, phone (160,000 bytes) 1" in capsys.readouterr().out
    config = from_toml((tmp_path / "whole" / "config.toml").read_text())
    assert (config.client.exact, config.client.memory_budget) == ("device", 0)
    assert [one.exact for one in config.link.devices] == [0, 1, 2, 4]
    assert json.loads((tmp_path / "whole" / "summary.json").read_text())["client_exact"] == "device"
    largest = plan_cost(recipe_config("digits", "heron", ["client.exact=4"])).peak_memory_bytes
    assert json.loads((tmp_path / "whole" / "cost.json").read_text())["peak_memory_bytes"] == largest
    assert main([*common, "--set", "rounds=1", "--out", str(tmp_path / "cut")]) == 0
    assert main(["train", "--resume", str(tmp_path / "cut"), "--set", "rounds=2"]) == 0
    states = [(tmp_path / name / "checkpoint" / "state.safetensors").read_bytes() for name in ("whole", "cut")]
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["plan", "digits", "--memory", "device"], "expected a memory_budget of every class in link.profile with"),
        (["plan", "digits", "--memory", "1MiB", "--algorithm", "ho_fl"], "expected --algorithm heron with one size"),
        (["train", "digits", "--set", "client.memory_budget=device"], "found no profile"),
        (["train", "digits", "--set", "client.exact=device"], "expected classes of devices in link.profile"),
        (["train", "digits", "--set", "client.memory_budget=divice"], "expected a size in bytes"),
    ],
)
def test_what_cannot_be_planned_is_told_in_one_line(command: list[str], told: str, capsys, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run")] if command[0] == "train" else []
    assert main([*command, *out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_refusals_with_a_profile(profile: str, capsys, tmp_path: Path) -> None:
    plan = ["plan", "digits", "--memory", "device", "--set", profile]
    assert main([*plan, "--algorithm", "cse_fsl"]) == 2
    assert (
        "expected an algorithm with an order boundary with --memory device, heron or ho_fl" in capsys.readouterr().err
    )
    assert main([*plan, "--set", "client.exact=1"]) == 2
    assert "drop client.exact" in capsys.readouterr().err
    small = tmp_path / "small.toml"
    small.write_text(f'[tag]\n{LINE}memory_budget = "100KiB"\nshare = 1.0\n')
    assert main(["plan", "digits", "--memory", "device", "--set", f"link.profile={small}"]) == 2
    error = capsys.readouterr().err
    assert "link.devices, class 'tag': expected a memory budget of at least 138,728 bytes" in error
    assert len(error.splitlines()) == 1
