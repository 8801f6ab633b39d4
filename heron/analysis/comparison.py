"""From the summaries of finished runs to one row per algorithm and settings. Reads results, trains nothing."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Summary = Mapping[str, Any]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class RunGroup:
    """Finished runs that differ in nothing but the seed.

    Attributes:
        algorithm: its name.
        settings: value of each varied key; empty where nothing is varied.
        summaries: one per seed.
        cost: cost of one client step.
    """

    algorithm: str
    settings: Settings
    summaries: Sequence[Summary]
    cost: Mapping[str, Any]


def summarise(groups: Sequence[RunGroup]) -> list[dict[str, Any]]:
    """One row per group: accuracy with its standard error, gain recovered, traffic, time and client costs.

    Args:
        groups: runs of each algorithm under each choice of settings.

    Returns:
        Rows in the order of `groups`. `gain_recovered` is (accuracy - frozen) / (cse_fsl - frozen) of the mean test
        accuracies under the same settings, and None where one of the two controls is absent or cse_fsl is not above
        frozen: then there is nothing to recover (ALGORITHMS 4b).
    """
    rows = [_row(group) for group in groups]
    accuracy = {(row["algorithm"], *row["settings"].items()): row["test_accuracy"] for row in rows}
    for row in rows:
        frozen, first_order = (accuracy.get((control, *row["settings"].items())) for control in ("frozen", "cse_fsl"))
        row["gain_recovered"] = gain_recovered(row["test_accuracy"], frozen, first_order)
    return rows


def gain_recovered(accuracy: float | None, frozen: float | None, first_order: float | None) -> float | None:
    """Share of what a first-order client gains over a frozen one: (accuracy - frozen) / (first_order - frozen).

    None where a value is absent, or the first-order client gains nothing.
    """
    if accuracy is None or frozen is None or first_order is None or first_order <= frozen:
        return None
    return (accuracy - frozen) / (first_order - frozen)


def row_label(algorithm: str, settings: Settings, *, without: str | None = None) -> str:
    """A short name, e.g. `heron, mu=0.001, probes=4`; keys are written out where their last parts coincide.

    Args:
        algorithm: its name.
        settings: value of each varied key.
        without: a varied key to leave out.
    """
    last_parts = [key.rpartition(".")[2] for key in settings]
    names = [last if last_parts.count(last) == 1 else key for key, last in zip(settings, last_parts, strict=True)]
    shown = [
        f"{name}={value_text(value)}"
        for name, (key, value) in zip(names, settings.items(), strict=True)
        if key != without
    ]
    return ", ".join([algorithm, *shown])


def value_text(value: object) -> str:
    """The one way to write a value of a configuration: 0.001, 1e-5, 4, true, rademacher."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        digits, _, exponent = repr(value).partition("e")
        return f"{digits}e{int(exponent)}" if exponent else digits
    return str(value)


def _row(group: RunGroup) -> dict[str, Any]:
    runs = group.summaries
    accuracies = [run["test_accuracy"] for run in runs if run.get("test_accuracy") is not None]
    return {
        "algorithm": group.algorithm,
        "settings": dict(group.settings),
        "label": row_label(group.algorithm, group.settings),
        "num_runs": len(runs),
        "test_accuracy": statistics.fmean(accuracies) if accuracies else None,
        "test_accuracy_standard_error": standard_error(accuracies),
        "test_accuracies": accuracies,
        "uplink_bytes_by_kind": _mean_by_kind([run["uplink_bytes_by_kind"] for run in runs]),
        "downlink_bytes_by_kind": _mean_by_kind([run["downlink_bytes_by_kind"] for run in runs]),
        "elapsed_s": statistics.fmean(run["elapsed_s"] for run in runs),
        "client_cost": dict(group.cost),
    }


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of a mean; None of fewer than two values."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _mean_by_kind(traffic: Sequence[Mapping[str, int]]) -> dict[str, float]:
    kinds = sorted({kind for run in traffic for kind in run})
    return {kind: statistics.fmean(run.get(kind, 0) for run in traffic) for kind in kinds}
