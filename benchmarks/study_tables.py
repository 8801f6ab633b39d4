"""Measures of `study.py`: gain recovered, gain over the frozen bottom, compute to the published accuracy."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from heron.analysis import gain_recovered, standard_error

Row = dict[str, Any]


def add_measures(rows: Sequence[Row], last_rounds: int) -> None:
    """Add to every row, in place, the measures that depend on all rows.

    `gain_recovered` is (accuracy - frozen) / (cse_fsl - frozen) of the mean test accuracies, and its standard error
    that of the same ratio over seeds with the two ends held at their means. `over_control` is the mean difference to
    the arm with the same boundary and its bottom frozen, paired by seed. `flops_to_published` is the client's FLOPs
    until the mean validation accuracy of `last_rounds` rounds first reaches what heron has at the end with the same
    seed; None where a seed never does.
    """
    by_name = {row["arm"]: row for row in rows}
    accuracies = {row["arm"]: [run["test"] for run in row["runs"]] for row in rows}
    frozen, first_order = (statistics.fmean(accuracies[name]) for name in ("frozen", "cse_fsl"))
    published = [statistics.fmean(run["validation"][-last_rounds:]) for run in by_name["heron"]["runs"]]
    for row in rows:
        found = accuracies[row["arm"]]
        row["test_accuracy"] = statistics.fmean(found)
        row["test_accuracy_standard_error"] = standard_error(found)
        row["gain_recovered"] = gain_recovered(row["test_accuracy"], frozen, first_order)
        error = standard_error(found)
        if error is None or row["gain_recovered"] is None:
            row["gain_recovered_standard_error"] = None
        else:
            row["gain_recovered_standard_error"] = error / (first_order - frozen)
        row["forwards_of_compute"] = row["cost"]["flops_per_step"] / _forward_flops(by_name)
        row["peak_memory_over_heron"] = row["cost"]["peak_memory_bytes"] / by_name["heron"]["cost"]["peak_memory_bytes"]
        if row["control"]:
            gaps = [mine - other for mine, other in zip(found, accuracies[row["control"]], strict=True)]
            row["over_control"] = statistics.fmean(gaps)
            row["over_control_standard_error"] = standard_error(gaps)
        reached = [_flops_to(run, level, last_rounds, row) for run, level in zip(row["runs"], published, strict=True)]
        spent = [flops for flops in reached if flops is not None]
        row["flops_to_published"] = statistics.fmean(spent) if len(spent) == len(reached) else None


def print_rows(rows: Sequence[Row]) -> None:
    """A Markdown table."""
    print("| arm | test accuracy % | gain recovered % | over frozen bottom | F per step | memory | FLOPs to heron |")
    print("|---|---|---|---|---|---|---|")
    slowest = next(row["flops_to_published"] for row in rows if row["arm"] == "heron")
    for row in rows:
        over = "-" if "over_control" not in row else _points(row["over_control"], row["over_control_standard_error"])
        spent = row["flops_to_published"]
        share = "-" if spent is None or slowest is None else f"{spent / slowest:.2f}"
        print(
            f"| {row['arm']} | {_points(row['test_accuracy'], row['test_accuracy_standard_error'])} "
            f"| {_points(row['gain_recovered'], row['gain_recovered_standard_error'])} | {over} "
            f"| {row['forwards_of_compute']:.2f} | {row['peak_memory_over_heron']:.2f} | {share} |"
        )


def _forward_flops(by_name: dict[str, Row]) -> float:
    """One forward of the client with its head: heron's step with one probe is two."""
    cost = by_name["heron"]["cost"]
    return float(cost["flops_per_step"] / cost["forwards_per_step"])


def _flops_to(run: Row, accuracy: float, last_rounds: int, row: Row) -> float | None:
    for position in range(last_rounds, len(run["validation"]) + 1):
        if statistics.fmean(run["validation"][position - last_rounds : position]) >= accuracy:
            return float(run["client_examples"][position - 1] * row["cost"]["flops_per_step"] / row["batch_size"])
    return None


def _points(share: float | None, error: float | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share:.1f}" + ("" if error is None or math.isnan(error) else f" ± {100 * error:.1f}")
