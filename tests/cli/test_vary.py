"""`heron compare --vary`: every combination once, kept run by run, in one table and one plot."""

import itertools
import json
import shutil

import pytest

import heron.cli.compare
import heron.cli.grid_runs
import heron.cli.workers
from heron.cli.grid import Cell, expand_grid
from heron.cli.main import main
from heron.config import recipe_config
from heron.errors import ConfigError

MUS, SIZES = [0.01, 0.001], [16, 32]
VARY = ["--vary", "estimator.mu=1e-2,1e-3", "--vary", "client.batch_size=16,32"]
ARGUMENTS = ["compare", "digits", "--algorithms", "heron,frozen", "--seeds", "0,3", "--set", "rounds=1"]


def forbidden(*_):
    raise AssertionError("done again")


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("vary") / "grid"
    assert main([*ARGUMENTS, *VARY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def asked(monkeypatch):
    """Run directories that would be trained; instead of training, Ctrl-C."""
    directories = []

    def interrupted(paths, _configs):
        directories.extend(paths)
        raise KeyboardInterrupt

    monkeypatch.setattr(heron.cli.grid_runs, "run_all", interrupted)
    return directories


@pytest.mark.slow
def test_every_combination_has_its_run_and_its_row(folder):
    result = json.loads((folder / "comparison.json").read_text())
    assert result["vary"] == {"estimator.mu": MUS, "client.batch_size": SIZES}
    assert [(row["algorithm"], *row["settings"].values()) for row in result["rows"]] == list(
        itertools.product(["heron", "frozen"], MUS, SIZES)
    )
    assert result["rows"][1]["label"] == "heron, mu=0.01, batch_size=32"
    for row in result["rows"]:
        mu, size = row["settings"]["estimator.mu"], row["settings"]["client.batch_size"]
        runs = [
            folder / row["algorithm"] / f"estimator.mu={mu},client.batch_size={size}" / f"seed{seed}" for seed in (0, 3)
        ]
        summaries = [json.loads((run / "summary.json").read_text()) for run in runs]
        assert row["test_accuracies"] == [summary["test_accuracy"] for summary in summaries]
        for run in runs:
            assert f"mu = {mu}" in (run / "config.toml").read_text()
            assert f"batch_size = {size}" in (run / "config.toml").read_text()
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.slow
def test_costs_are_those_of_the_row_and_lie_beside_every_run(folder):
    rows = json.loads((folder / "comparison.json").read_text())["rows"]
    for row in rows:
        name = ",".join(f"{key}={value}" for key, value in row["settings"].items())
        saved = [json.loads(path.read_text()) for path in (folder / row["algorithm"] / name).glob("seed*/cost.json")]
        assert saved == [row["client_cost"]] * 2
        assert row["client_cost"]["algorithm"] == row["algorithm"]
    small, large = rows[0]["client_cost"], rows[1]["client_cost"]
    assert 2 * small["smashed_bytes_per_step"] == large["smashed_bytes_per_step"]


@pytest.mark.slow
def test_the_second_call_does_nothing_again_and_prints_the_same(folder, monkeypatch, capsys):
    monkeypatch.setattr(heron.cli.workers.multiprocessing, "get_context", forbidden)
    monkeypatch.setattr(heron.cli.compare, "profile_cost", forbidden)
    before = files(folder)
    tables = []
    for _ in range(2):
        capsys.readouterr()
        assert main([*ARGUMENTS, *VARY, "--out", str(folder)]) == 0
        output = capsys.readouterr()
        assert output.err == ""
        tables.append(output.out)
    assert tables[0] == tables[1]
    assert tables[0].count("┏") == 1
    heading = next(line for line in tables[0].splitlines() if "algorithm" in line)
    assert [cell.strip() for cell in heading.split("┃")[1:5]] == [
        "algorithm",
        "estimator.mu",
        "client.batch_size",
        "test accuracy %",
    ]
    after = files(folder)
    assert {name for name in before if before[name] != after[name]} <= {"comparison.json", "comparison.png"}


@pytest.mark.slow
def test_a_larger_grid_trains_only_what_is_new(folder, tmp_path, asked, capsys):
    out = tmp_path / "grid"
    shutil.copytree(folder, out)
    (out / "frozen" / "estimator.mu=0.01,client.batch_size=16" / "seed3" / "summary.json").unlink()
    wider = ["--vary", "estimator.mu=0.001,0.01,2e-05", "--vary", "client.batch_size=16"]
    assert main([*ARGUMENTS, *wider, "--out", str(out)]) == 130
    assert f"--out {out}" in capsys.readouterr().err
    assert {str(path.relative_to(out)) for path in asked} == {
        "heron/estimator.mu=2e-5,client.batch_size=16/seed0",
        "heron/estimator.mu=2e-5,client.batch_size=16/seed3",
        "frozen/estimator.mu=2e-5,client.batch_size=16/seed0",
        "frozen/estimator.mu=2e-5,client.batch_size=16/seed3",
        "frozen/estimator.mu=0.01,client.batch_size=16/seed3",
    }


@pytest.mark.slow
def test_a_cost_of_another_kind_is_measured_again(folder, tmp_path):
    out = tmp_path / "grid"
    shutil.copytree(folder, out)
    first, second = sorted(out.glob("heron/estimator.mu=0.01,client.batch_size=16/seed*/cost.json"))
    first.write_text('{"algorithm": "heron"}')
    second.write_text("{nonsense")
    assert main([*ARGUMENTS, *VARY, "--out", str(out)]) == 0
    assert first.read_text() == second.read_text()
    assert json.loads(first.read_text())["peak_memory_bytes"] > 0


def test_one_value_is_a_grid_too(tmp_path, asked):
    out = tmp_path / "one"
    assert main([*ARGUMENTS, "--vary", "wire = true", "--out", str(out)]) == 130
    assert asked[0] == out / "heron" / "wire=true" / "seed0"


def test_values_are_as_the_configuration_holds_them():
    grid = expand_grid("digits", ["heron"], [0], [], ["estimator.mu=1,1e-05", "client.optimizer=sgd,'adam'"])
    assert grid.vary == {"estimator.mu": [1.0, 1e-5], "client.optimizer": ["sgd", "adam"]}
    assert [str(cell.folder) for cell in grid.cells] == [
        "heron/estimator.mu=1.0,client.optimizer=sgd",
        "heron/estimator.mu=1.0,client.optimizer=adam",
        "heron/estimator.mu=1e-5,client.optimizer=sgd",
        "heron/estimator.mu=1e-5,client.optimizer=adam",
    ]
    expected = recipe_config("digits", "heron", ["estimator.mu=1e-5", "client.optimizer=sgd"])
    assert grid.cells[2].configs == {0: expected}


def test_a_budget_is_varied_beside_what_the_recipe_has():
    grid = expand_grid("digits", ["heron", "frozen"], [0], [], ["client.memory_budget=0,150KB"])
    assert grid.vary == {"client.memory_budget": [0, 150_000]}
    assert [cell.configs[0].client.exact for cell in grid.cells] == [2, 1, 0, 0]


def test_without_varied_keys_a_cell_is_an_algorithm():
    grid = expand_grid("digits", ["heron", "frozen"], [0, 1], ["rounds=3"], [])
    assert grid.vary == {}
    assert [(str(cell.folder), dict(cell.settings), list(cell.configs)) for cell in grid.cells] == [
        ("heron", {}, [0, 1]),
        ("frozen", {}, [0, 1]),
    ]


def test_different_settings_have_different_folders_one_level_deep():
    hostile = ["../x", "a/b", "a,b=c", "a%2Fb", "cuda:0", "ü"]
    folders = {Cell("heron", {"a": value, "b": 1}, {}).folder for value in hostile}
    folders.add(Cell("heron", {"a": "a", "b": "c,b=1"}, {}).folder)
    assert len(folders) == len(hostile) + 1
    for path in folders:
        assert len(path.parts) == 2
        assert set(path.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,=%-_~")


def test_a_folder_name_that_no_file_system_takes(monkeypatch):
    monkeypatch.setattr(heron.cli.grid, "_MAX_NAME_BYTES", 40)
    with pytest.raises(ConfigError, match="40 bytes; vary fewer keys"):
        expand_grid("digits", ["heron"], [0], [], ["estimator.mu=1", "client.optimizer=sgd,momentum"])
