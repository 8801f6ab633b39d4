"""Outcomes of several runs in one grid: means over seeds, and what each row changes against the first."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heron.analysis import standard_error
from heron.audit.attacks import LEAKS
from heron.audit.outcome import Outcome

_ERRORS = 2.0
_LEAST = 0.02  # a difference that one seed makes by itself


@dataclass(frozen=True)
class Case:
    """Outcome of the audit of one run.

    Attributes:
        label: of its row.
        seed: of the run.
        quality: test accuracy or perplexity of the run; None if unknown.
        outcomes: of the attacks, by name.
    """

    label: str
    seed: int
    quality: float | None
    outcomes: Mapping[str, Outcome]

    @property
    def figures(self) -> dict[str, float]:
        """Figures of all attacks."""
        return {key: value for outcome in self.outcomes.values() for key, value in outcome.figures.items()}


def rows_of(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Make a row for each label: means over seeds with their standard errors, and the change against the first row.

    Args:
        cases: in the order of the rows.

    Returns:
        Rows with `label`, `seeds`, `quality`, `figures` and `errors` (standard errors, None with one seed), both by
        name, `leak` (name of the figure that is compared, None without one), `change` of it against the first row over
        the seeds that both have, `change_error`, and `protects`: whether it is lower by more than noise, None where
        there is nothing to compare with; and `notes`.
    """
    by_label: dict[str, list[Case]] = {}
    for case in cases:
        by_label.setdefault(case.label, []).append(case)
    first = next(iter(by_label.values()))
    return [_row(label, of_label, first) for label, of_label in by_label.items()]


def _row(label: str, cases: Sequence[Case], first: Sequence[Case]) -> dict[str, Any]:
    keys = dict.fromkeys(key for case in cases for key in case.figures)
    values = {key: [case.figures[key] for case in cases if key in case.figures] for key in keys}
    qualities = [case.quality for case in cases if case.quality is not None]
    return {
        "label": label,
        "seeds": [case.seed for case in cases],
        "quality": statistics.fmean(qualities) if qualities else None,
        "quality_error": standard_error(qualities),
        "figures": {key: statistics.fmean(found) for key, found in values.items()},
        "errors": {key: standard_error(found) for key, found in values.items()},
        **_change(cases, first),
        "notes": sorted({note for case in cases for outcome in case.outcomes.values() for note in outcome.notes}),
    }


def _change(cases: Sequence[Case], first: Sequence[Case]) -> dict[str, Any]:
    """Compare the leak of two rows seed by seed."""
    reference = {case.seed: case.figures for case in first}
    pairs = [(case.figures, reference[case.seed]) for case in cases if case.seed in reference]
    leak = next((key for key in LEAKS if pairs and all(key in own and key in other for own, other in pairs)), None)
    if leak is None or cases is first:
        return {"leak": leak, "change": None, "change_error": None, "protects": None}
    differences = [own[leak] - other[leak] for own, other in pairs]
    mean, error = statistics.fmean(differences), standard_error(differences)
    return {
        "leak": leak,
        "change": mean,
        "change_error": error,
        "protects": mean < -max(_LEAST, _ERRORS * (error or 0.0)),
    }
