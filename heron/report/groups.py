"""Groups of runs that differ only in the seed, each one line of a report."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heron.algorithms import CONTROLS
from heron.analysis import (
    Quality,
    common_target,
    costs_to_target,
    gains_recovered,
    mean_and_error,
    row_label,
    value_text,
)
from heron.config.likeness import differing_keys, distance
from heron.report.collect import SavedRun
from heron.report.curves import Metrics, SeedCurve


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, one per seed.

    Attributes:
        label: short name, unique in the report.
        runs: the runs, at least one.
    """

    label: str
    runs: list[SavedRun]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that the runs share, without their seeds."""
        return _without_seed(self.runs[0])


def group_runs(runs: Sequence[SavedRun]) -> list[Group]:
    """Group runs by configuration, in the order of their first run.

    A label is the algorithm's name and the keys in which groups of that algorithm differ.
    """
    by_config: dict[str, list[SavedRun]] = {}
    for run in runs:
        by_config.setdefault(repr(sorted(_without_seed(run).items(), key=lambda pair: pair[0])), []).append(run)
    groups = list(by_config.values())
    labels = []
    for group in groups:
        config = group[0].config
        rivals = [_without_seed(other[0]) for other in groups if other[0].config["algorithm"] == config["algorithm"]]
        keys = differing_keys(rivals)
        if "link.profile" in keys:  # one word for several keys
            keys = [key for key in keys if key != "link.devices"]
        labels.append(row_label(config["algorithm"], {key: config.get(key) for key in keys}))
    return [Group(label, group) for label, group in zip(labels, groups, strict=True)]


def differences(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Rows of the table of differences: a key and its value in every group."""
    configs = [group.config for group in groups]
    return [
        {"key": key, "values": [value_text(config.get(key, "-")) for config in configs]}
        for key in differing_keys(configs)
        if key != "algorithm"
    ]


def curve(group: Group, quality: Quality) -> dict[str, Any]:
    """Mean, lowest and highest test quality over the seeds in every round that all seeds have evaluated.

    Positions: `rounds`, and for the mean run `uplink` in bytes, `simulated` time in seconds and `compute` of all
    clients in FLOPs (the last two are empty if unknown).
    """
    drawn = SeedCurve.of([run.metrics for run in group.runs], quality)
    compute = [[_flops(run, row) for run, row in zip(group.runs, point, strict=True)] for point in drawn.points]
    known = all(value is not None for point in compute for value in point)
    return {
        "rounds": drawn.rounds,
        "uplink": drawn.uplink_bytes,
        "compute": [statistics.fmean(value or 0.0 for value in point) for point in compute] if known else [],
        "simulated": drawn.simulated_s,
        "mean": drawn.mean,
        "low": drawn.low,
        "high": drawn.high,
    }


def rows(groups: Sequence[Group], quality: Quality) -> list[dict[str, Any]]:
    """Rows of the table of results; None stands for an unknown value."""
    target = common_target([run.metrics for group in groups for run in group.runs], quality)
    result = [_row(group, quality, target) for group in groups]
    judged = [(group.config, row["quality"]) for group, row in zip(groups, result, strict=True)]
    gains = gains_recovered(judged, quality, lower=CONTROLS["lower"], upper=CONTROLS["upper"], distance=distance)
    for row, gain in zip(result, gains, strict=True):
        row["gain_recovered"] = gain
    return result


def _row(group: Group, quality: Quality, target: float | None) -> dict[str, Any]:
    last = [run.metrics[-1] for run in group.runs]
    evaluated = [[row for row in run.metrics if quality.key() in row] for run in group.runs]
    mean, error = mean_and_error([quality.of(rows[-1]) for rows in evaluated if rows])
    cost = next((run.cost for run in group.runs if run.cost), {})
    simulated = [row["simulated_s"] for row in last if "simulated_s" in row]
    to_target = costs_to_target([run.metrics for run in group.runs], target, quality)
    return {
        "label": group.label,
        "seeds": len(group.runs),
        "quality": mean,
        "standard_error": error,
        "memory": cost.get("peak_memory_bytes"),
        "memory_breakdown": cost.get("memory_breakdown_bytes", {}),
        "flops": cost.get("flops_per_step"),
        "uplink": statistics.fmean(row["uplink_bytes"] for row in last),
        "downlink": statistics.fmean(row["downlink_bytes"] for row in last),
        "rounds": min(row["round"] for row in last),
        "seconds": statistics.fmean(row["elapsed_s"] for row in last),
        "simulated": statistics.fmean(simulated) if len(simulated) == len(last) else None,
        "target": target,
        "simulated_to_target": to_target["simulated_s_to_target"],
        "uplink_by_kind": _mean_by_kind(group, "uplink_bytes_by_kind"),
        "downlink_by_kind": _mean_by_kind(group, "downlink_bytes_by_kind"),
    }


def _flops(run: SavedRun, row: Metrics) -> float | None:
    examples, flops, batch = (
        row.get("client_examples"),
        run.cost.get("flops_per_step"),
        run.config.get("client.batch_size"),
    )
    return None if examples is None or flops is None or not batch else examples * flops / batch


def _mean_by_kind(group: Group, key: str) -> dict[str, float]:
    traffic = [run.summary[key] for run in group.runs if key in run.summary]
    kinds = sorted({kind for run in traffic for kind in run})
    return {kind: statistics.fmean(run.get(kind, 0) for run in traffic) for kind in kinds}


def _without_seed(run: SavedRun) -> dict[str, Any]:
    return {key: value for key, value in run.config.items() if key != "seed"}
