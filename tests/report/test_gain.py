"""Gain recovered: one rule for the page and for the table on the terminal, also where a recipe tunes its algorithms."""

import pytest

from heron.algorithms import CONTROLS
from heron.analysis import ACCURACY, RunGroup, summarise
from heron.cli.grid import expand_grid
from heron.cli.parser import make_parser
from heron.config.likeness import distance
from heron.report.collect import collect_runs
from heron.report.groups import group_runs, rows
from tests.report.saved_runs import save_run

ALGORITHMS = ["heron", "cse_fsl", "frozen"]


def on_the_page(folder):
    return {row["label"]: row["gain_recovered"] for row in rows(group_runs(collect_runs([folder])), ACCURACY)}


def on_the_terminal(folder, *words):
    runs = {(run.config["algorithm"], run.config["estimator.mu"]): run for run in collect_runs([folder])}
    groups = []
    for cell in expand_grid("digits", ALGORITHMS, [0], ["rounds=3"], list(words)).cells:
        run = runs[cell.algorithm, cell.config["estimator.mu"]]
        groups.append(RunGroup(cell.algorithm, cell.settings, [run.metrics[-1] | run.summary], {}, cell.config))
    found = summarise(groups, lower=CONTROLS["lower"], upper=CONTROLS["upper"], distance=distance)
    return {row["label"]: row["gain_recovered"] for row in found}


def test_settings_that_a_recipe_tunes_for_each_algorithm(tmp_path):
    for algorithm in ALGORITHMS:
        save_run(tmp_path, algorithm, recipe="digits")
    assert on_the_page(tmp_path) == {"heron": pytest.approx(0.5), "cse_fsl": 1, "frozen": 0}
    assert on_the_terminal(tmp_path) == on_the_page(tmp_path)


def test_varied_settings(tmp_path):
    for algorithm in ALGORITHMS:
        for mu in ("1e-4", "1e-3"):
            save_run(tmp_path, algorithm, recipe="digits", changes=(f"estimator.mu={mu}",))
    page = on_the_page(tmp_path)
    assert sorted(page.values()) == pytest.approx([0, 0, 0.5, 0.5, 1, 1])
    assert on_the_terminal(tmp_path, "estimator.mu=1e-4,1e-3") == page


def test_what_is_compared_by_default_has_both_controls():
    options = make_parser().parse_args(["compare", "digits"])
    assert options.algorithms == ["heron", CONTROLS["upper"], CONTROLS["lower"]]
