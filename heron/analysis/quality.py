"""Measures of a model's quality: the accuracy of a classifier, the perplexity of a language model, the loss of others.

Code that shows, sorts or compares results asks the measure and knows neither by name.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from heron.errors import ReportError

# Larger values are shown with an exponent.
_MAX_PLAIN = 1e5


@dataclass(frozen=True)
class Quality:
    """A measure of quality. Rows of metrics and summaries contain None if the run diverged, no key if not evaluated.

    Attributes:
        name: e.g. `"accuracy"`; a row holds `test_accuracy` and `validation_accuracy`.
        plural: e.g. `"accuracies"`.
        higher_is_better: whether larger values are better.
        factor: what the saved value is multiplied by for display.
        unit: unit of the displayed value; empty for none.
        decimals: number of decimals of the displayed value.
        logarithmic: whether ratios matter more than differences; values are then above 0.
    """

    name: str
    plural: str
    higher_is_better: bool
    factor: float
    unit: str
    decimals: int
    logarithmic: bool

    def key(self, split: str = "test") -> str:
        """Name of the value in a row, e.g. `test_accuracy`."""
        return f"{split}_{self.name}"

    @property
    def error_key(self) -> str:
        """Name of the standard error over seeds in a row of a comparison, e.g. `test_accuracy_standard_error`."""
        return f"{self.key()}_standard_error"

    def of(self, row: Mapping[str, Any], split: str = "test") -> float | None:
        """The value in a row, or None if the row has none that is finite.

        Args:
            row: a row of metrics or a summary.
            split: `test` or `validation`.
        """
        value = row.get(self.key(split))
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    def goodness(self, value: float | None) -> float:
        """A number that is larger for better values; an unknown value is the worst."""
        if value is None:
            return -math.inf
        return value if self.higher_is_better else -value

    def heading(self, split: str = "test") -> str:
        """Heading of a column, e.g. `test accuracy %`."""
        return f"{split} {self.name} {self.unit}".strip()

    @property
    def axis(self) -> str:
        """Title of an axis, e.g. `test accuracy (%)`."""
        notes = [self.unit] * bool(self.unit) + ["logarithmic"] * self.logarithmic
        return f"test {self.name}" + (f" ({', '.join(notes)})" if notes else "")

    def text(self, value: float | None, error: float | None = None) -> str:
        """Text of a value for display, with its standard error if known: `79.1 ± 2.0`; `-` if the value is unknown.

        Args:
            value: the saved value; None if unknown.
            error: its standard error over seeds; None for none.
        """
        if value is None:
            return "-"
        return self._number(value) + ("" if error is None else f" ± {self._number(error)}")

    def _number(self, value: float) -> str:
        shown = self.factor * value
        return f"{shown:.{self.decimals}f}" if shown < _MAX_PLAIN else f"{shown:.3g}"


ACCURACY = Quality("accuracy", "accuracies", higher_is_better=True, factor=100, unit="%", decimals=1, logarithmic=False)
"""Share of examples that are classified correctly."""
PERPLEXITY = Quality(
    "perplexity", "perplexities", higher_is_better=False, factor=1, unit="", decimals=2, logarithmic=True
)
"""Exponential of the mean loss per token."""
LOSS = Quality("loss", "losses", higher_is_better=False, factor=1, unit="", decimals=4, logarithmic=False)
"""Mean loss per label that counts, where labels have no other measure."""
QUALITIES = (ACCURACY, PERPLEXITY)
"""Measures that only some runs have; a row with neither is judged by its loss, which every evaluation has."""


def quality_of(rows: Iterable[Mapping[str, Any]]) -> Quality:
    """The measure used in rows of metrics, summaries or a comparison.

    That is the loss if they contain neither accuracy nor perplexity, and accuracy if they contain no evaluation.

    Raises:
        ReportError: if they contain more than one.
    """
    keys = {key for row in rows for key in row}
    used = [one for one in (*QUALITIES, LOSS) if keys & {one.key("test"), one.key("validation")}]
    found = [one for one in used if one in QUALITIES] or used
    if len(found) > 1:
        names = " and ".join(one.name for one in found)
        raise ReportError(f"expected runs judged by one measure, found {names}; show each in a report of its own")
    return found[0] if found else ACCURACY
