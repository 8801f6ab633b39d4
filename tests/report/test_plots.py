"""The picture of a grid, read back from the figure; tables with a column for each varied key."""

import itertools
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

import heron.report.grid_plots
from heron.analysis import row_label
from heron.report import plot_grid, print_comparison, print_run
from heron.report.privacy import COVERED

MIB = 2**20

COSTS = {
    "client_cost": {"peak_memory_bytes": 2**20, "flops_per_step": 10**9},
    "uplink_bytes_by_kind": {"smashed": 1},
    "downlink_bytes_by_kind": {"model": 1},
    "elapsed_s": 1.0,
}
ROW = {"test_accuracy": 0.5, "test_accuracy_standard_error": None, "gain_recovered": None, **COSTS}


def grid(algorithms, vary, accuracy=lambda algorithm, *values: 0.5, error=0.01, key="test_accuracy"):
    rows, metrics = [], []
    for algorithm, *values in itertools.product(algorithms, *vary.values()):
        settings = dict(zip(vary, values, strict=True))
        final = accuracy(algorithm, *values)
        rows.append(
            {
                "algorithm": algorithm,
                "settings": settings,
                "label": row_label(algorithm, settings),
                key: final,
                f"{key}_standard_error": error,
            }
        )
        run = [{"round": n, key: None if final is None else final * n / 3, "uplink_bytes": n * MIB} for n in (1, 2, 3)]
        metrics.append([run, run] if error else [run])
    return rows, metrics


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """Plots a grid; returns the axes: by round, by uplink, final."""
    honest, figures = heron.report.grid_plots.save, []

    def kept(figure, path):
        honest(figure, path)
        figures.append(figure)

    monkeypatch.setattr(heron.report.grid_plots, "save", kept)

    def check(rows, metrics):
        path = tmp_path / "grid.png"
        plot_grid(rows, metrics, path)
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        return figures[-1].axes

    return check


def labels(axes):
    return [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]


def ticks(axes):
    return [tick.get_text() for tick in axes.get_xticklabels()]


def test_one_key_in_order_with_errors(draw):
    accuracies = {1e-2: 0.3, 1e-4: 0.5, 1e-3: 0.7}
    rows, metrics = grid(["heron"], {"estimator.mu": list(accuracies)}, lambda _, mu: accuracies[mu], error=0.02)
    by_round, by_bytes, final = draw(rows, metrics)
    assert labels(by_round) == labels(by_bytes) == ["heron, mu=0.01", "heron, mu=0.0001", "heron, mu=0.001"]
    assert list(by_round.lines[0].get_xdata()) == [1, 2, 3]
    assert list(by_bytes.lines[0].get_xdata()) == [1, 2, 3]
    assert list(by_round.lines[0].get_ydata()) == pytest.approx([10, 20, 30])
    (line,) = (line for line in final.lines if line.get_label() == "heron")
    assert list(line.get_xdata()) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert list(line.get_ydata()) == pytest.approx([50, 70, 30])
    (bars,) = final.containers
    low, high = bars.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(48), pytest.approx(52))
    assert (final.get_xscale(), final.get_xlabel(), ticks(final)) == (
        "log",
        "estimator.mu",
        ["0.0001", "0.001", "0.01"],
    )
    # The points carry the colours of the curves: 0.0001 is the second curve.
    points = final.collections[-1].get_facecolor()
    assert to_hex(points[0]) == to_hex(by_round.lines[1].get_color())
    assert len({to_hex(point) for point in points}) == 3


def test_a_colour_means_the_same_above_and_below(draw):
    rows, metrics = grid(["heron", "frozen"], {"estimator.mu": [1e-3, 1e-2], "estimator.probes": [1, 4]})
    by_round, _, final = draw(rows, metrics)
    assert labels(final) == ["heron, probes=1", "heron, probes=4", "frozen, probes=1", "frozen, probes=4"]
    below = {line.get_label(): to_hex(line.get_color()) for line in final.lines}
    above = {line.get_label(): line for line in by_round.lines}
    assert len(above) == 8
    assert len({(to_hex(line.get_color()), line.get_linestyle()) for line in above.values()}) == 8
    for row in rows:
        if row["settings"]["estimator.mu"] == 1e-2:
            name = f"{row['algorithm']}, probes={row['settings']['estimator.probes']}"
            assert to_hex(above[row["label"]].get_color()) == below[name]


def test_large_grids_stay_readable_and_show_every_algorithm(draw):
    def accuracy(algorithm, rate, size):
        return (0.1 if algorithm == "frozen" else 0.8) + rate + size / 1000

    vary = {"client.learning_rate": [0.01, 0.02, 0.03], "client.batch_size": list(range(1, 13))}
    rows, metrics = grid(["cse_fsl", "heron", "frozen"], vary, accuracy)
    by_round, _, final = draw(rows, metrics)
    names = [label.split(",")[0] for label in labels(by_round)]
    # Turn by turn; the last turn has two places, which go to the more accurate.
    assert [names.count(name) for name in ("cse_fsl", "heron", "frozen")] == [3, 3, 2]
    assert "heron, learning_rate=0.03, batch_size=12" in labels(by_round)
    assert "frozen, learning_rate=0.03, batch_size=12" in labels(by_round)
    assert "8 of 108" in by_round.get_title(loc="left")
    assert len(labels(final)) == 8
    assert "8 of 36" in final.get_title(loc="left")
    assert by_round.get_legend() is None


def test_perplexity_is_drawn_as_it_is_on_a_logarithmic_axis(draw):
    rows, metrics = grid(["heron"], {"rounds": [1, 2]}, lambda _, rounds: 30.0 * rounds, key="test_perplexity", error=2)
    by_round, by_bytes, final = draw(rows, metrics)
    assert list(by_round.lines[0].get_ydata()) == pytest.approx([10, 20, 30])
    assert list(final.lines[-1].get_ydata()) == pytest.approx([30, 60])
    assert [axes.get_yscale() for axes in (by_round, by_bytes, final)] == ["log"] * 3
    assert by_round.get_ylabel() == "test perplexity (logarithmic)"
    assert final.get_ylabel() == "final test perplexity (logarithmic)"
    by_round, _, final = draw(*grid(["heron"], {"rounds": [1, 2]}))
    assert [axes.get_yscale() for axes in (by_round, final)] == ["linear"] * 2
    assert by_round.get_ylabel() == "test accuracy (%)"


@pytest.mark.parametrize(
    ("key", "best"),
    [("test_accuracy", {0.12, 0.11}), ("test_perplexity", {0.01, 0.02})],
    ids=["accuracy", "perplexity"],
)
def test_the_best_rows_are_those_of_the_better_values(draw, key, best):
    values = [n / 100 for n in range(1, 13)]
    by_round, _, _ = draw(*grid(["heron"], {"client.batch_size": values}, lambda _, value: value, key=key))
    shown = {float(label.partition("=")[2]) for label in labels(by_round)}
    assert len(shown) == 8
    assert best < shown
    assert not {min(values), max(values)} <= shown


def test_seeds_are_joined_round_by_round(draw):
    rows, ((first, second),) = grid(["heron"], {"rounds": [3]}, lambda *_: 30.0, key="test_perplexity")
    second = [dict(row, test_perplexity=None if row["round"] == 1 else 40.0) for row in second]
    by_round, by_bytes, _ = draw(rows, [[first, second]])
    # The second seed diverged in round 1; 20 and 30 of the first meet 40 and 40.
    assert list(by_round.lines[0].get_xdata()) == list(by_bytes.lines[0].get_xdata()) == [2, 3]
    assert list(by_round.lines[0].get_ydata()) == pytest.approx([30, 35])


@pytest.mark.parametrize(
    ("values", "scale", "shown"),
    [
        ([1, 4], "linear", ["1", "4"]),
        ([1, 10], "log", ["1", "10"]),
        ([0, 1, 20], "linear", ["0", "1", "20"]),
        ([0.0, 0.5, 0.1], "linear", ["0.0", "0.1", "0.5"]),
        ([True, False], "linear", ["true", "false"]),
        (["sgd", "adam"], "linear", ["sgd", "adam"]),
        ([3], "linear", ["3"]),
    ],
    ids=str,
)
def test_the_axis_suits_the_values(draw, values, scale, shown):
    *_, final = draw(*grid(["heron", "frozen"], {"client.batch_size": values}))
    assert final.get_xscale() == scale
    assert ticks(final) == shown


def test_ticks_that_would_overlap_are_left_to_the_library(draw):
    *_, final = draw(*grid(["heron"], {"rounds": [1000, 1001, 9000]}))
    assert ticks(final) != ["1000", "1001", "9000"]


def test_one_seed_has_no_bars_and_rows_without_accuracy_no_lines(draw):
    rows, metrics = grid(["heron"], {"rounds": [1, 2]}, lambda _, rounds: 0.5 if rounds == 1 else None, error=None)
    by_round, _, final = draw(rows, metrics)
    assert labels(by_round) == ["heron, rounds=1"]
    assert not final.containers
    assert "error" not in final.get_title(loc="left")
    draw(*grid(["heron"], {"rounds": [1, 2]}, lambda *_: None, error=None))


def test_a_table_folds_no_cell_in_a_pipe(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    keys = ["server.alignment_learning_rate", "client.learning_rate", "server.learning_rate", "estimator.distribution"]
    rows = [
        {
            "algorithm": "fsl_sage",
            "settings": dict.fromkeys(keys, 0.30000000000000004),
            "test_accuracy": 0.5,
            "test_accuracy_standard_error": 0.1,
            "gain_recovered": None,
            **COSTS,
        }
    ]
    print_comparison("digits", rows, [0, 1])
    output = capsys.readouterr().out
    assert all(key in output for key in keys)
    (line,) = (line for line in output.splitlines() if "fsl_sage" in line)
    assert [cell.strip() for cell in line.split("│")[1:7]] == [
        "fsl_sage",
        *["0.30000000000000004"] * 4,
        "50.0 ± 10.0",
    ]
    assert "traffic" not in output


def test_without_varied_keys_the_traffic_is_listed_by_kind(capsys):
    row = ROW | {"algorithm": "heron", "settings": {}}
    print_comparison("digits", [row], [7])
    output = capsys.readouterr().out
    assert "digits: seed 7" in output
    assert "uplink smashed" in output
    assert "epsilon" not in output


def test_privacy_spent_is_a_column_with_its_limit_below(capsys):
    frozen = ROW | {"algorithm": "frozen", "settings": {"rounds": 2}}
    private = frozen | {"algorithm": "heron", "epsilon_public": 2.998, "delta": 1e-5}
    print_comparison("digits", [private, frozen], [7])
    output = capsys.readouterr().out
    assert "epsilon, public, at delta 1e-05" in output
    last = [line.split("│")[-2].strip() for line in output.splitlines() if line.startswith(("│ heron", "│ frozen"))]
    assert last == ["3", "-"]
    assert COVERED in output


def test_tables_of_runs_judged_by_perplexity(capsys):
    rows = [
        {
            "algorithm": "heron",
            "settings": {},
            "test_perplexity": 25.789,
            "test_perplexity_standard_error": 0.5,
            "gain_recovered": 0.5,
            **COSTS,
        }
    ]
    print_comparison("words", rows, [0, 1])
    summary = rows[0] | {"round": 3, "validation_perplexity": 31.0}
    print_run("words", summary, Path("runs"))
    output = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("│")] for line in output.splitlines()]
    assert any("25.79 ± 0.50" in cells and "50.0" in cells for cells in lines)
    assert ["test perplexity", "25.79"] in [cells[1:3] for cells in lines]
    assert ["validation perplexity", "31.00"] in [cells[1:3] for cells in lines]
    assert "gain recovered = (perplexity - frozen) / (cse_fsl - frozen)" in output
    assert "accuracy" not in output
