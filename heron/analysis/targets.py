"""Cost of reaching a quality: traffic and simulated time up to the first round that reaches it."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from heron.analysis.quality import Quality

Metrics = Mapping[str, Any]
COSTS = ("round", "uplink_bytes", "downlink_bytes", "simulated_s")
"""Costs reported for the round that reaches a target, under their names in rows of metrics; all are cumulative."""


def common_target(runs: Iterable[Sequence[Metrics]], quality: Quality) -> float | None:
    """The best test quality that every run has reached in some round; None if a run has never been evaluated.

    Args:
        runs: rows of metrics, one list per run.
        quality: the measure that judges them.
    """
    bests = [max((quality.of(row) for row in run), key=quality.goodness, default=None) for run in runs]
    return min(bests, key=quality.goodness, default=None)


def costs_to_target(runs: Sequence[Sequence[Metrics]], target: float | None, quality: Quality) -> dict[str, Any]:
    """Means over seeds of the costs up to the first evaluated round whose test quality is at least the target.

    Args:
        runs: rows of metrics, one list per seed.
        target: the quality to reach.
        quality: the measure that judges the runs.

    Returns:
        `round_to_target`, `uplink_bytes_to_target` and so on. A value is None if a seed did not reach the target or its
        rows lack the value: the mean of the others would look too good.
    """
    reached = [_first(run, target, quality) for run in runs]
    return {f"{cost}_to_target": _mean([row.get(cost) for row in reached]) for cost in COSTS}


def _first(run: Sequence[Metrics], target: float | None, quality: Quality) -> Metrics:
    if target is None:
        return {}
    wanted = quality.goodness(target)
    return next((row for row in run if quality.goodness(quality.of(row)) >= wanted), {})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
