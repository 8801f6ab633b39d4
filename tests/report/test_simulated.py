"""Simulated time in plots, on the page and in a real browser; nothing of it where no run has any."""

import json

import pytest

import heron.report.grid_plots
import heron.report.plots
from heron.analysis import ACCURACY
from heron.report import plot_grid, plot_learning_curves, write_report
from heron.report.collect import collect_runs
from heron.report.groups import curve, group_runs, rows
from heron.report.units import seconds_text
from tests.report.saved_runs import save_run


def add_time(path, seconds: float) -> None:
    """Metrics with a fixed number of seconds per round."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for row in lines:
        row["simulated_s"] = seconds * row["round"]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))


@pytest.fixture
def folder(tmp_path):
    for seed, seconds in ((0, 10.0), (1, 30.0)):
        add_time(save_run(tmp_path, "heron", seed), seconds)
    save_run(tmp_path, "frozen", 0)
    return tmp_path


@pytest.fixture
def figures(monkeypatch):
    kept = []
    for module in (heron.report.plots, heron.report.grid_plots):
        monkeypatch.setattr(module, "save", lambda figure, _: kept.append(figure))
    return kept


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.012345, "0.0123 s"), (119.6, "120 s"), (120, "2.0 min"), (7199, "120.0 min"), (7200, "2.0 h")],
)
def test_seconds_as_people_read_them(seconds, text):
    assert seconds_text(seconds) == text


def test_the_figures_of_groups_with_and_without_time(folder):
    groups = group_runs(collect_runs([folder]))
    frozen, heron_row = rows(groups, ACCURACY)
    assert (frozen["simulated"], frozen["simulated_to_target"]) == (None, None)
    assert heron_row["simulated"] == 60  # 3 rounds of 20 s in the mean
    # frozen ends at 0.4, which heron reaches in its first round (seed 0 with 0.4, seed 1 with 0.41).
    assert heron_row["target"] == pytest.approx(0.4)
    assert heron_row["simulated_to_target"] == 20
    assert curve(groups[1], ACCURACY)["simulated"] == [20, 40, 60]
    assert curve(groups[0], ACCURACY)["simulated"] == []


def test_the_page_shows_it(folder):
    write_report([folder], folder / "report.html")
    page = (folder / "report.html").read_text()
    assert '<canvas id="simulated"' in page
    assert '<td data-value="60.0">60 s</td>' in page
    assert '<td data-value="">-</td>' in page
    assert "simulated time to 40.0 %" in page


def test_a_page_without_it_does_not_speak_of_it(tmp_path):
    save_run(tmp_path)
    write_report([tmp_path], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    text = page.partition("<body>")[2].partition('<script type="application/json"')[0]
    assert "imulated" not in text


def test_the_plots_have_a_panel_for_it(figures, tmp_path):
    timed = [{"round": n, "test_accuracy": n / 4, "uplink_bytes": n, "simulated_s": 5.0 * n} for n in (1, 2)]
    plain = [{key: value for key, value in row.items() if key != "simulated_s"} for row in timed]
    plot_learning_curves({"heron": [timed], "frozen": [plain]}, tmp_path / "never.png")
    by_round, _, by_time = figures[-1].axes
    assert by_time.get_xlabel() == "simulated time (s)"
    assert [list(line.get_xdata()) for line in by_time.lines] == [[5, 10]]
    assert len(by_round.lines) == 2
    table = [
        {"algorithm": "heron", "settings": {"rounds": 2}, "label": "a", "test_accuracy": 0.5}
        | {"test_accuracy_standard_error": None}
    ]
    plot_grid(table, [[timed]], tmp_path / "never.png")
    assert [axes.get_xlabel() for axes in figures[-1].axes][2:] == ["simulated time (s)", "rounds"]
    for metrics in (plain,):
        plot_learning_curves({"heron": [metrics]}, tmp_path / "never.png")
        plot_grid(table, [[metrics]], tmp_path / "never.png")
    assert [len(figure.axes) for figure in figures] == [3, 4, 2, 3]
