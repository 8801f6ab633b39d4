"""Figures of the comparison table against hand-made summaries."""

import math

import pytest

from heron.analysis import PERPLEXITY, RunGroup, gain_recovered, row_label, summarise, value_text
from heron.errors import ReportError


def compared(groups: list[RunGroup]) -> list[dict]:
    return summarise(groups, lower="frozen", upper="cse_fsl", distance=distance)


def distance(config: dict, other: dict) -> int | None:
    keys = {key for key in config if config[key] != other[key]} - {"algorithm"}
    return len(keys) if keys <= {"tuned"} else None


def group(algorithm: str, settings: dict, summaries: list[dict], cost: dict | None = None, **tuned: int) -> RunGroup:
    return RunGroup(algorithm, settings, summaries, cost or {}, {"algorithm": algorithm, **settings, **tuned})


def summary(value: float | None, smashed: int, measure: str = "test_accuracy") -> dict:
    return {
        measure: value,
        "uplink_bytes_by_kind": {"smashed": smashed},
        "downlink_bytes_by_kind": {"model": 10},
        "elapsed_s": 2.0,
    }


def test_gain_recovered() -> None:
    assert gain_recovered(0.79, 0.55, 0.95) == pytest.approx(0.6)  # (79 - 55) / (95 - 55)
    assert gain_recovered(0.79, None, 0.95) is None
    assert gain_recovered(0.79, 0.5, 0.5) is None
    assert gain_recovered(0.79, 0.5, 0.4) is None  # there is nothing to recover


def test_rows_hold_means_and_standard_errors() -> None:
    runs = {
        "heron": [summary(0.7, 100), summary(0.8, 200)],
        "frozen": [summary(0.5, 100)],
        "cse_fsl": [summary(1.0, 1)],
    }
    groups = [group(name, {}, summaries, {"flops_per_step": len(name)}) for name, summaries in runs.items()]
    heron, frozen, first_order = compared(groups)
    assert (heron["algorithm"], heron["label"], heron["settings"]) == ("heron", "heron", {})
    assert heron["client_cost"] == {"flops_per_step": 5}
    assert heron["test_accuracy"] == pytest.approx(0.75)
    # Standard deviation of two values is their distance / sqrt 2, the standard error half the distance.
    assert heron["test_accuracy_standard_error"] == pytest.approx(0.1 / math.sqrt(2) / math.sqrt(2))
    assert heron["gain_recovered"] == pytest.approx(0.5)
    assert heron["uplink_bytes_by_kind"] == {"smashed": 150}
    assert frozen["gain_recovered"] == 0
    assert frozen["test_accuracy_standard_error"] is None
    assert first_order["gain_recovered"] == 1


def test_privacy_spent_is_that_of_the_run_that_has_spent_most() -> None:
    spent = [summary(0.7, 1) | {"epsilon_public": epsilon, "delta": 1e-5} for epsilon in (2.0, 3.0, 1.0)]
    private, frozen = compared([group("heron", {}, spent), group("frozen", {}, [summary(0.5, 1)])])
    assert (private["epsilon_public"], private["delta"]) == (3.0, 1e-5)
    assert "epsilon_public" not in frozen


def test_gain_recovered_where_lower_is_better() -> None:
    assert gain_recovered(30, 50, 10, PERPLEXITY) == 0.5
    assert str(gain_recovered(50, 50, 10, PERPLEXITY)) == "0.0"  # and not -0.0
    assert gain_recovered(60, 50, 10, PERPLEXITY) == -0.25  # worse than frozen
    assert gain_recovered(5, 50, 10, PERPLEXITY) == 45 / 40  # better than first order
    assert gain_recovered(30, 50, 50, PERPLEXITY) is None
    assert gain_recovered(30, 10, 50, PERPLEXITY) is None  # there is nothing to recover


def test_rows_of_runs_judged_by_perplexity() -> None:
    runs = {"heron": [30.0, 34.0], "frozen": [52.0], "cse_fsl": [12.0]}
    groups = [
        group(name, {}, [summary(value, 1, "test_perplexity") for value in values], {}) for name, values in runs.items()
    ]
    heron, frozen, _ = compared(groups)
    assert heron["test_perplexity"] == 32
    assert heron["test_perplexity_standard_error"] == pytest.approx(2)  # half the distance
    assert heron["test_perplexities"] == [30, 34]
    assert heron["gain_recovered"] == 0.5  # (32 - 52) / (12 - 52)
    assert frozen["gain_recovered"] == 0
    assert not any("accura" in key for key in heron)


def test_a_seed_that_diverged_leaves_no_mean() -> None:
    groups = [group("heron", {}, [summary(value, 1, "test_perplexity") for value in (30.0, None)], {})]
    (row,) = compared(groups)
    assert row["test_perplexities"] == [30, None]
    assert (row["test_perplexity"], row["test_perplexity_standard_error"]) == (None, None)


def test_measures_are_never_mixed() -> None:
    groups = [
        group("heron", {}, [summary(0.5, 1)], {}),
        group("frozen", {}, [summary(9, 1, "test_perplexity")], {}),
    ]
    with pytest.raises(ReportError, match="one measure, found accuracy and perplexity"):
        compared(groups)


def test_gains_compare_runs_of_equal_settings() -> None:
    accuracies = {
        ("heron", 1): 0.7,
        ("heron", 4): 0.7,
        ("frozen", 1): 0.5,
        ("frozen", 4): 0.6,
        ("cse_fsl", 1): 0.9,
        ("cse_fsl", 4): 1.0,
        ("heron", 8): 0.7,
    }
    groups = [
        group(algorithm, {"estimator.probes": probes}, [summary(accuracy, 1)], {})
        for (algorithm, probes), accuracy in accuracies.items()
    ]
    one, four, *_, without_controls = compared(groups)
    assert one["gain_recovered"] == pytest.approx(0.5)  # (7 - 5) / (9 - 5)
    assert four["gain_recovered"] == pytest.approx(0.25)  # (7 - 6) / (10 - 6)
    assert without_controls["gain_recovered"] is None
    assert four["label"] == "heron, probes=4"
    assert four["settings"] == {"estimator.probes": 4}


def test_labels_are_short_but_never_ambiguous() -> None:
    assert row_label("heron", {}) == "heron"
    rates = {"client.learning_rate": 0.001, "server.learning_rate": 0.1, "estimator.probes": 4}
    assert row_label("heron", rates) == "heron, client.learning_rate=0.001, server.learning_rate=0.1, probes=4"
    assert row_label("heron", rates, without="client.learning_rate") == "heron, server.learning_rate=0.1, probes=4"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-3, "0.001"),
        (1e-5, "1e-5"),
        (1.5e-07, "1.5e-7"),
        (1e22, "1e22"),
        (2.0, "2.0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (4, "4"),
        (True, "true"),
        ("one_sided", "one_sided"),
    ],
)
def test_one_text_for_each_value(value: object, text: str) -> None:
    assert value_text(value) == text


def test_gain_recovered_is_that_to_the_nearest_control() -> None:
    runs = [("heron", 7, 1), ("frozen", 5, 2), ("frozen", 4, 1), ("cse_fsl", 9, 2), ("cse_fsl", 10, 3)]
    heron, *_ = compared([group(name, {}, [summary(value, 1)], tuned=tuned) for name, value, tuned in runs])
    assert heron["gain_recovered"] == pytest.approx(0.6)  # (7 - 4) / (9 - 4)
