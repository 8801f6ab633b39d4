"""Curves of several seeds: mean and band."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from heron.analysis import Quality

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class SeedCurve:
    """Test quality in every round that all seeds have evaluated, in the unit of display.

    Attributes:
        points: for every such round, a row of metrics per seed.
        mean: mean over the seeds.
        low: lowest value among the seeds.
        high: highest value among the seeds.
    """

    points: list[list[Metrics]]
    mean: list[float]
    low: list[float]
    high: list[float]

    @classmethod
    def of(cls, metrics: Sequence[Sequence[Metrics]], quality: Quality) -> Self:
        """Make the curve of some runs; a round in which one of them diverged has no point.

        Args:
            metrics: rows of metrics, one list per seed.
            quality: the measure that judges the runs.
        """
        by_round = [{row["round"]: row for row in run if quality.of(row) is not None} for run in metrics]
        rounds = sorted(set.intersection(*map(set, by_round))) if by_round else []
        points = [[rows[number] for rows in by_round] for number in rounds]
        values = [[quality.factor * (quality.of(row) or 0.0) for row in point] for point in points]
        return cls(
            points, [statistics.fmean(point) for point in values], list(map(min, values)), list(map(max, values))
        )

    @property
    def rounds(self) -> list[int]:
        """Number of the round, for every point."""
        return [point[0]["round"] for point in self.points]

    @property
    def uplink_bytes(self) -> list[float]:
        """Cumulative traffic of the mean run, for every point."""
        return [statistics.fmean(row["uplink_bytes"] for row in point) for point in self.points]

    @property
    def simulated_s(self) -> list[float]:
        """Cumulative simulated time of the mean run, for every point; empty if a row has none."""
        if not all("simulated_s" in row for point in self.points for row in point):
            return []
        return [statistics.fmean(row["simulated_s"] for row in point) for point in self.points]
