"""`heron compare`: one table over algorithms and seeds, kept run by run."""

import json
import shutil

import pytest

import heron.cli.compare
import heron.cli.grid_runs
import heron.cli.workers
from heron.cli.main import main
from heron.config import build_federation, from_toml, load_splits, recipe_config

ARGUMENTS = ["compare", "digits", "--algorithms", "heron,cse_fsl,frozen", "--seeds", "0,1", "--set", "rounds=2"]


def forbidden(_method):
    raise AssertionError("trained again")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "all"
    assert main([*ARGUMENTS, "--out", str(out)]) == 0
    return out


def test_the_results_of_a_comparison(folder):
    result = json.loads((folder / "comparison.json").read_text())
    assert (result["recipe"], result["seeds"], result["set"]) == ("digits", [0, 1], ["rounds=2"])
    assert result["vary"] == {}
    assert [row["algorithm"] for row in result["rows"]] == ["heron", "cse_fsl", "frozen"]
    for row in result["rows"]:
        summaries = [json.loads((folder / row["algorithm"] / f"seed{n}" / "summary.json").read_text()) for n in (0, 1)]
        assert (row["num_runs"], row["settings"], row["label"]) == (2, {}, row["algorithm"])
        for seed in (0, 1):
            cost = json.loads((folder / row["algorithm"] / f"seed{seed}" / "cost.json").read_text())
            assert cost == row["client_cost"]
        assert row["test_accuracies"] == [summary["test_accuracy"] for summary in summaries]
        assert row["test_accuracy"] == pytest.approx(sum(row["test_accuracies"]) / 2)
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_the_second_call_trains_nothing_and_prints_the_same_table(folder, monkeypatch, capsys):
    monkeypatch.setattr(heron.cli.workers.multiprocessing, "get_context", forbidden)
    tables = []
    for _ in range(2):
        capsys.readouterr()
        assert main([*ARGUMENTS, "--out", str(folder)]) == 0
        output = capsys.readouterr()
        assert output.err == ""
        tables.append(output.out)
    assert tables[0] == tables[1]
    assert all(name in tables[0] for name in ("heron", "cse_fsl", "frozen"))


@pytest.mark.slow
def test_the_first_call_prints_the_table_of_the_second(tmp_path, monkeypatch, capsys):
    arguments = ["compare", "digits", "--algorithms", "heron", "--set", "rounds=1", "--out", str(tmp_path / "one")]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(heron.cli.workers.multiprocessing, "get_context", forbidden)
    assert main(arguments) == 0
    assert capsys.readouterr().out == first


def test_a_folder_of_other_settings_is_refused(folder, capsys):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*ARGUMENTS, "--set", "server.learning_rate=0.5", "--out", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("heron: ")
    assert "--out" in line
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_other_settings_for_one_algorithm_are_refused_before_anything_trains(tmp_path, capsys):
    out = tmp_path / "mixed"
    arguments = ["compare", "digits", "--set", "rounds=1", "--out", str(out), "--algorithms"]
    assert main([*arguments, "frozen"]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*arguments, "heron,frozen", "--set", "server.learning_rate=0.5"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_with_privacy_the_frozen_control_is_there_without_noise(tmp_path, capsys):
    changes = ["rounds=1", "client.exact=0", "client.local_steps=2", "privacy.epsilon=3", "privacy.label_epsilon=2"]
    words = [word for one in changes for word in ("--set", one)]
    assert main(["compare", "digits", *words, "--out", str(tmp_path / "all")]) == 0
    frozen, heron_run = (
        from_toml((tmp_path / "all" / name / "seed0" / "config.toml").read_text()) for name in ("frozen", "heron")
    )
    assert (frozen.privacy.epsilon, frozen.privacy.label_epsilon) == ("off", 2.0)
    assert heron_run.privacy.epsilon == 3.0
    rows = {row["algorithm"]: row for row in json.loads((tmp_path / "all" / "comparison.json").read_text())["rows"]}
    # There is a gain to recover if noise and one round happen to leave one.
    has_gain = rows["cse_fsl"]["test_accuracy"] > rows["frozen"]["test_accuracy"]
    assert all((row["gain_recovered"] is not None) == has_gain for row in rows.values())


@pytest.mark.slow
def test_ctrl_c_names_the_folder_to_give_again(tmp_path, monkeypatch, capsys):
    honest, out = heron.cli.grid_runs.run_all, tmp_path / "cut"

    def interrupted(directories, configs):
        honest(directories[:1], configs[:1])
        raise KeyboardInterrupt

    arguments = ["compare", "digits", "--algorithms", "heron,cse_fsl", "--set", "rounds=2", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(heron.cli.grid_runs, "run_all", interrupted)
        assert main(arguments) == 130
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("heron: interrupted; ")
    assert f"--out {out}" in line
    kept = (out / "heron" / "seed0" / "summary.json").read_bytes()
    assert main(arguments) == 0
    assert (out / "heron" / "seed0" / "summary.json").read_bytes() == kept
    assert len((out / "cse_fsl" / "seed0" / "metrics.jsonl").read_text().splitlines()) == 2


def test_equal_data_is_read_once(monkeypatch):
    configs = [
        recipe_config("digits", algorithm, [f"seed={seed}", f"data.validation={validation}"])
        for algorithm in ("heron", "frozen")
        for seed, validation in ((0, 0.2), (1, 0.2), (0, 0.3))
    ]
    read = []

    def counted(config):
        read.append((config.seed, config.data.validation))
        return load_splits(config)

    built = []

    def noted(config, splits):
        assert len(splits.train) == len(load_splits(config).train)
        built.append(config)
        return build_federation(config, splits)

    monkeypatch.setattr(heron.cli.grid_runs, "load_splits", counted)
    monkeypatch.setattr(heron.cli.grid_runs, "build_federation", noted)
    heron.cli.grid_runs.check_buildable(configs)
    assert sorted(read) == [(0, 0.2), (0, 0.3), (1, 0.2)]
    assert len(built) == len(configs)
    assert all(config in built for config in configs)


def test_a_damaged_line_of_metrics_is_a_warning_and_stays(folder, tmp_path, capsys):
    out = tmp_path / "all"
    shutil.copytree(folder, out)
    path = out / "heron" / "seed0" / "metrics.jsonl"
    first, _ = path.read_text().splitlines()
    path.write_text(f'{first}\n{{"round": 2, "al\n')
    content = path.read_bytes()
    assert main([*ARGUMENTS, "--out", str(out)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"heron: warning: {path}, line 2: not a row of metrics, left out"
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [pytest.param("{nonsense", marks=pytest.mark.slow), "[]"])
def test_a_damaged_summary_says_how_to_go_on(folder, tmp_path, capsys, content):
    out = tmp_path / "all"
    shutil.copytree(folder, out)
    path = out / "heron" / "seed0" / "summary.json"
    whole = path.read_text()
    path.write_text(content)
    assert main([*ARGUMENTS, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert line.endswith("remove it, and the run continues from its checkpoint")
    path.unlink()
    assert main([*ARGUMENTS, "--out", str(out)]) == 0
    assert path.read_text() == whole
