"""From the summaries of finished runs to one row per algorithm. Reads results, trains nothing."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Summary = Mapping[str, Any]


def summarise(
    summaries: Mapping[str, Sequence[Summary]], costs: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row per algorithm: accuracy with its standard error, gain recovered, traffic, time and client costs.

    Args:
        summaries: summaries of each algorithm's runs, one per seed.
        costs: cost of one client step of each algorithm.

    Returns:
        Rows in the order of `summaries`. `gain_recovered` is (accuracy - frozen) / (cse_fsl - frozen) of the mean test
        accuracies, and None where one of the two controls is absent or they do not differ (ALGORITHMS 4b).
    """
    rows = [_row(algorithm, runs, costs[algorithm]) for algorithm, runs in summaries.items()]
    accuracy = {row["algorithm"]: row["test_accuracy"] for row in rows}
    for row in rows:
        row["gain_recovered"] = gain_recovered(row["test_accuracy"], accuracy.get("frozen"), accuracy.get("cse_fsl"))
    return rows


def gain_recovered(accuracy: float | None, frozen: float | None, first_order: float | None) -> float | None:
    """Share of what a first-order client gains over a frozen one: (accuracy - frozen) / (first_order - frozen)."""
    if accuracy is None or frozen is None or first_order is None or first_order == frozen:
        return None
    return (accuracy - frozen) / (first_order - frozen)


def _row(algorithm: str, runs: Sequence[Summary], cost: Mapping[str, Any]) -> dict[str, Any]:
    accuracies = [run["test_accuracy"] for run in runs if run.get("test_accuracy") is not None]
    return {
        "algorithm": algorithm,
        "num_runs": len(runs),
        "test_accuracy": statistics.fmean(accuracies) if accuracies else None,
        "test_accuracy_standard_error": _standard_error(accuracies),
        "test_accuracies": accuracies,
        "uplink_bytes_by_kind": _mean_by_kind([run["uplink_bytes_by_kind"] for run in runs]),
        "downlink_bytes_by_kind": _mean_by_kind([run["downlink_bytes_by_kind"] for run in runs]),
        "elapsed_s": statistics.fmean(run["elapsed_s"] for run in runs),
        "client_cost": dict(cost),
    }


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _mean_by_kind(traffic: Sequence[Mapping[str, int]]) -> dict[str, float]:
    kinds = sorted({kind for run in traffic for kind in run})
    return {kind: statistics.fmean(run.get(kind, 0) for run in traffic) for kind in kinds}
