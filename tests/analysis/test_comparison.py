"""Figures of the comparison table against hand-made summaries."""

import math

import pytest

from heron.analysis import gain_recovered, summarise


def summary(accuracy: float, smashed: int) -> dict:
    return {
        "test_accuracy": accuracy,
        "uplink_bytes_by_kind": {"smashed": smashed},
        "downlink_bytes_by_kind": {"model": 10},
        "elapsed_s": 2.0,
    }


def test_gain_recovered() -> None:
    assert gain_recovered(0.79, 0.55, 0.95) == pytest.approx(0.6)  # (79 - 55) / (95 - 55)
    assert gain_recovered(0.79, None, 0.95) is None
    assert gain_recovered(0.79, 0.5, 0.5) is None


def test_rows_hold_means_and_standard_errors() -> None:
    runs = {
        "heron": [summary(0.7, 100), summary(0.8, 200)],
        "frozen": [summary(0.5, 100)],
        "cse_fsl": [summary(1.0, 1)],
    }
    heron, frozen, first_order = summarise(runs, {name: {"flops_per_step": 1} for name in runs})
    assert heron["test_accuracy"] == pytest.approx(0.75)
    # Standard deviation of two values is their distance / sqrt 2, the standard error half the distance.
    assert heron["test_accuracy_standard_error"] == pytest.approx(0.1 / math.sqrt(2) / math.sqrt(2))
    assert heron["gain_recovered"] == pytest.approx(0.5)
    assert heron["uplink_bytes_by_kind"] == {"smashed": 150}
    assert frozen["gain_recovered"] == 0
    assert frozen["test_accuracy_standard_error"] is None
    assert first_order["gain_recovered"] == 1
