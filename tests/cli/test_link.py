"""Simulated time on the command line: a run, its resumption, a comparison with a target, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from heron.cli.main import main
from heron.config import build_run, from_toml

ROOT = Path(__file__).parents[2]
SPEEDS = ["--set", "link.client_gflops=1", "--set", "link.server_gflops=100"]
EXAMPLE = ["--set", "link.profile=examples/devices.toml", *SPEEDS]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_on_the_example_devices(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    out = tmp_path / "run"
    assert main(["train", "digits", "--set", "rounds=2", *EXAMPLE, "--out", str(out)]) == 0
    first, second = rows(out)
    assert 0.02 < first["simulated_s"] < second["simulated_s"]
    assert json.loads((out / "summary.json").read_text())["simulated_s"] == second["simulated_s"]
    assert re.search(r"simulated time .* s", capsys.readouterr().out)
    config = from_toml((out / "config.toml").read_text())
    assert [one.name for one in config.link.devices] == ["hospital", "edge-box", "phone"]
    # The saved configuration no longer needs the profile, neither to run again nor to continue.
    monkeypatch.chdir(tmp_path)
    again = build_run(config, None).train()
    assert [row["simulated_s"] for row in again] == [first["simulated_s"], second["simulated_s"]]
    (out / "summary.json").unlink()
    (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (first, second)))
    assert main(["train", "--resume", str(out)]) == 0
    assert rows(out) == [first, second]


def test_by_default_there_is_no_simulated_time(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "digits", "--set", "rounds=1", "--out", str(out)]) == 0
    assert "simulated_s" not in rows(out)[0]
    assert "simulated" not in capsys.readouterr().out + (out / "summary.json").read_text()


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("link") / "all"
    link = ["link.uplink_mbps=1", "link.downlink_mbps=8", "link.latency_ms=30"]
    words = [word for one in link for word in ("--set", one)]
    return out, ["compare", "digits", "--algorithms", "heron,sflv2", "--set", "rounds=3", *words, "--out", str(out)]


@pytest.mark.slow
def test_a_comparison_shows_simulated_time_and_what_a_target_takes(compared, capsys):
    out, arguments = compared
    assert main(arguments) == 0
    table = capsys.readouterr().out
    result = json.loads((out / "comparison.json").read_text())
    runs = {row["algorithm"]: rows(out / row["algorithm"] / "seed0") for row in result["rows"]}
    assert result["target"] == min(max(row["test_accuracy"] for row in run) for run in runs.values())
    text = f"{100 * result['target']:.1f}"
    for row in result["rows"]:
        run = runs[row["algorithm"]]
        assert row["simulated_s"] == run[-1]["simulated_s"]
        reached = next(one for one in run if one["test_accuracy"] >= result["target"])
        assert row["round_to_target"] == reached["round"]
        assert row["simulated_s_to_target"] == reached["simulated_s"]
        assert row["uplink_bytes_to_target"] == reached["uplink_bytes"]
        # Three digits are shown.
        assert f"{reached['simulated_s']:.3g} s" in table
    assert f"simulated time to {text} %" in table
    assert f"traffic to {text} %" in table
    assert runs["sflv2"][-1]["simulated_s"] > runs["heron"][-1]["simulated_s"]
    page = (out / "report.html").read_text()
    assert '<canvas id="simulated"' in page
    assert f"simulated time to {text} %" in page


@pytest.mark.slow
def test_a_target_that_nobody_reaches_is_a_dash(compared, capsys):
    out, arguments = compared
    assert main([*arguments, "--target", "99.9"]) == 0
    assert "simulated time to 99.9 %" in capsys.readouterr().out
    result = json.loads((out / "comparison.json").read_text())
    assert result["target"] == pytest.approx(0.999)
    assert {row["simulated_s_to_target"] for row in result["rows"]} == {None}


@pytest.mark.slow
def test_a_target_without_a_link_shows_traffic(tmp_path, capsys):
    arguments = ["compare", "digits", "--algorithms", "heron", "--set", "rounds=1", "--out", str(tmp_path / "one")]
    assert main(arguments) == 0
    plain = capsys.readouterr().out
    saved = json.loads((tmp_path / "one" / "comparison.json").read_text())
    assert "target" not in json.dumps(saved)
    assert not any(word in plain for word in ("traffic to", "simulated"))
    assert main([*arguments, "--target", "1"]) == 0
    table = capsys.readouterr().out
    assert "traffic to 1.0 %" in table
    assert "simulated" not in table


@pytest.mark.slow
def test_other_profiles_are_told_apart_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "examples" / "devices.toml").read_text()
    Path("fast.toml").write_text(text)
    Path("slow.toml").write_text(text.replace("latency_ms = ", "latency_ms = 10"))
    vary = ["--vary", "link.profile=fast.toml,slow.toml"]
    assert main(["compare", "digits", "--algorithms", "frozen", "--set", "rounds=1", *vary, "--out", "both"]) == 0
    fast, slow = json.loads(Path("both/comparison.json").read_text())["rows"]
    assert fast["simulated_s"] < slow["simulated_s"]
    page = Path("both/report.html").read_text()
    assert '"labels": ["frozen, profile=fast.toml", "frozen, profile=slow.toml"]' in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "digits", "--set", "link.profile=nothing.toml"], "found no file 'nothing.toml'"),
        (["train", "digits", "--set", "link.uplink_mbps=-1"], "link.uplink_mbps: "),
        (["train", "digits", "--set", "link.uplink=1"], "did you mean 'link.uplink_mbps'"),
        (["compare", "digits", "--algorithms", "heron", "--target", "high"], "--target"),
        (["compare", "digits", "--algorithms", "heron", "--target", "nan"], "--target as a number above 0, found nan"),
        (["compare", "digits", "--algorithms", "heron", "--target", "0"], "--target as a number above 0, found 0"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert list(tmp_path.iterdir()) == []
