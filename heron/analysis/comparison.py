"""Comparison of finished runs: their summaries become one row per algorithm and settings. Trains nothing."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heron.analysis.quality import ACCURACY, Quality, quality_of

Summary = Mapping[str, Any]
Settings = Mapping[str, Any]
Configuration = Mapping[str, Any]
Distance = Callable[[Configuration, Configuration], int | None]
"""Function that tells how far two configurations of one task are from each other; None if they are not of one task."""


@dataclass(frozen=True)
class RunGroup:
    """Finished runs that differ only in the seed.

    Attributes:
        algorithm: its name.
        settings: value of each varied key; empty if nothing is varied.
        summaries: one per seed.
        cost: cost of one client step.
        config: configuration by dotted key, `algorithm` among them.
    """

    algorithm: str
    settings: Settings
    summaries: Sequence[Summary]
    cost: Mapping[str, Any]
    config: Configuration


def summarise(groups: Sequence[RunGroup], *, lower: str, upper: str, distance: Distance) -> list[dict[str, Any]]:
    """Summarise each group in one row: quality with its standard error, gain recovered, traffic, time, client costs.

    Args:
        groups: runs of each algorithm under each choice of settings.
        lower: algorithm whose clients learn nothing.
        upper: algorithm whose clients learn from exact gradients.
        distance: as of `gains_recovered`.

    Returns:
        Rows in the order of `groups`. `test_accuracy` is the mean over the seeds, next to
        `test_accuracy_standard_error` and `test_accuracies`; if runs are judged by perplexity, `perplexity` replaces
        `accuracy` in these names. `gain_recovered` is that of `gains_recovered`. `simulated_s` is present if all runs
        have it. So is `epsilon_public`, that of the run that has spent most, with its `delta`.

    Raises:
        ReportError: if some runs are judged by accuracy and others by perplexity.
    """
    quality = quality_of(summary for group in groups for summary in group.summaries)
    rows = [_row(group, quality) for group in groups]
    judged = [(group.config, row[quality.key()]) for group, row in zip(groups, rows, strict=True)]
    gains = gains_recovered(judged, quality, lower=lower, upper=upper, distance=distance)
    for row, gain in zip(rows, gains, strict=True):
        row["gain_recovered"] = gain
    return rows


def gains_recovered(
    judged: Sequence[tuple[Configuration, float | None]],
    quality: Quality,
    *,
    lower: str,
    upper: str,
    distance: Distance,
) -> list[float | None]:
    """Compute each group's gain recovered against the two controls of its task, the nearest if there are several.

    Args:
        judged: configuration and mean quality of every group.
        quality: the measure.
        lower: algorithm whose clients learn nothing.
        upper: algorithm whose clients learn from exact gradients.
        distance: tells which groups are of one task.

    Returns:
        In the order of the groups; None where a control is absent, or `upper` is not better than `lower` so that there
        is nothing to recover.
    """

    def control(config: Configuration, algorithm: str) -> float | None:
        found = [(distance(config, other), value) for other, value in judged if other["algorithm"] == algorithm]
        near = [(far, value) for far, value in found if far is not None]
        return min(near, key=lambda pair: pair[0])[1] if near else None

    return [gain_recovered(value, control(config, lower), control(config, upper), quality) for config, value in judged]


def gain_recovered(
    value: float | None, lower: float | None, upper: float | None, quality: Quality = ACCURACY
) -> float | None:
    """Share of a first-order client's gain over a frozen one: (value - lower) / (upper - lower).

    None if a value is absent or the first-order client gains nothing. If lower is better the formula stays the same,
    because both differences change their sign.

    Args:
        value: quality of a method.
        lower: quality of the frozen client.
        upper: quality of the first-order client.
        quality: measure of all three.

    Returns:
        The share, which may be below 0 or above 1.
    """
    if value is None or lower is None or upper is None:
        return None
    gain, whole_gain = (quality.goodness(one) - quality.goodness(lower) for one in (value, upper))
    return gain / whole_gain if whole_gain > 0 else None


def row_label(algorithm: str, settings: Settings, *, without: str | None = None) -> str:
    """A short name, e.g. `heron, mu=0.001, probes=4`; keys appear in full if their last parts coincide.

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
    """Text of a configuration's value, written the same everywhere: 0.001, 1e-5, 4, true, rademacher."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        digits, _, exponent = repr(value).partition("e")
        return f"{digits}e{int(exponent)}" if exponent else digits
    return str(value)


def _row(group: RunGroup, quality: Quality) -> dict[str, Any]:
    runs = group.summaries
    values = [quality.of(run) for run in runs if quality.key() in run]
    mean, error = mean_and_error(values)
    return {
        "algorithm": group.algorithm,
        "settings": dict(group.settings),
        "label": row_label(group.algorithm, group.settings),
        "num_runs": len(runs),
        quality.key(): mean,
        quality.error_key: error,
        f"test_{quality.plural}": values,
        "uplink_bytes_by_kind": _mean_by_kind([run["uplink_bytes_by_kind"] for run in runs]),
        "downlink_bytes_by_kind": _mean_by_kind([run["downlink_bytes_by_kind"] for run in runs]),
        "elapsed_s": statistics.fmean(run["elapsed_s"] for run in runs),
        "client_cost": dict(group.cost),
        **(
            {"simulated_s": statistics.fmean(run["simulated_s"] for run in runs)}
            if _all_have("simulated_s", runs)
            else {}
        ),
        **(_most_spent(runs) if _all_have("epsilon_public", runs) else {}),
    }


def _all_have(key: str, runs: Sequence[Summary]) -> bool:
    return all(key in run for run in runs)


def _most_spent(runs: Sequence[Summary]) -> dict[str, Any]:
    most = max(runs, key=lambda run: float(run["epsilon_public"]))
    return {key: most[key] for key in ("epsilon_public", "delta")}


def mean_and_error(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean over seeds and its standard error; None if a seed diverged: the mean of the others would look too good."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return statistics.fmean(known), standard_error(known)


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of a mean; None for fewer than two values."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _mean_by_kind(traffic: Sequence[Mapping[str, int]]) -> dict[str, float]:
    kinds = sorted({kind for run in traffic for kind in run})
    return {kind: statistics.fmean(run.get(kind, 0) for run in traffic) for kind in kinds}
