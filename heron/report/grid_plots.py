"""Plot of a grid: learning curves of its best rows, and final quality against the first varied key."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from heron.analysis import Quality, quality_of, row_label, value_text
from heron.report.curves import Metrics
from heron.report.plots import (
    COLOURS,
    band_note,
    draw_curve,
    finish_curves,
    has_simulated,
    new_figure,
    save,
    scale_quality,
    tidy,
)

Row = Mapping[str, Any]
_MAX_LINES = len(COLOURS)
_LINE_STYLES = ("-", "--", ":", "-.")
_INCHES_PER_LETTER = 0.08  # width of a letter in a legend
_ASIDE = 0.006  # share of the axis: offset between lines of the lower panel
_PALEST = 0.5  # share of white in the palest shade of a colour
_DECADE = 9.99  # a decade, up to rounding
_MIN_TICK_GAP = 0.05  # share of the axis; closer labels overlap


@dataclass(frozen=True)
class _Series:
    """Rows that differ only in the first varied key: one line of the lower panel.

    Attributes:
        algorithm: its name.
        label: its name in the legend.
        rows: positions of its rows.
    """

    algorithm: str
    label: str
    rows: list[int]


@dataclass(frozen=True)
class _Scale:
    """Horizontal axis of the lower panel.

    Attributes:
        values: values of the first varied key; numbers in ascending order, others as given.
        kind: `log` for positive numbers over a decade or more, `linear` for other numbers, else `categories`.
    """

    values: list[Any]
    kind: Literal["log", "linear", "categories"]

    @classmethod
    def of(cls, found: Iterable[Any]) -> Self:
        """Choose the scale for these values."""
        values = list(dict.fromkeys(found))
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            return cls(values, "categories")
        values.sort()
        return cls(values, "log" if values[0] > 0 and values[-1] / values[0] > _DECADE else "linear")

    def place(self, value: Any, *, aside: float = 0.0) -> float:
        """Position of a value; `aside` counts steps to the side, so that equal points of several lines stay visible."""
        places = self._places()
        shifted = places[self.values.index(value)] + aside * _ASIDE * ((places[-1] - places[0]) or 1.0)
        return math.exp(shifted) if self.kind == "log" else shifted

    def apply(self, axes: Any) -> None:
        """Scale the axis, with a tick at every value if their labels fit."""
        if self.kind == "log":
            axes.set_xscale("log")
        places = self._places()
        gaps = [right - left for left, right in itertools.pairwise(places)]
        if self.kind == "categories" or min(gaps, default=1.0) >= _MIN_TICK_GAP * (places[-1] - places[0]):
            axes.set_xticks([self.place(value) for value in self.values], map(value_text, self.values))
            axes.set_xticks([], minor=True)

    def _places(self) -> list[float]:
        if self.kind == "categories":
            return [float(index) for index in range(len(self.values))]
        return [math.log(value) if self.kind == "log" else float(value) for value in self.values]


def plot_grid(rows: Sequence[Row], metrics: Sequence[Sequence[Sequence[Metrics]]], path: Path) -> None:
    """Plot learning curves above and, below, final quality against the first varied key, with standard errors.

    If there is simulated time, curves are drawn over it as well. Each panel has at most eight lines: the best of each
    algorithm, then the second of each, and so on. A colour stands for an algorithm with its settings of the other keys;
    shade and line style stand for a value of the first key. If only one such combination is drawn, colours are values.

    Args:
        rows: rows of a comparison that varies at least one key.
        metrics: rows of metrics of each row's runs, one list per seed.
        path: PNG file to write.

    Raises:
        ReportError: if some rows are judged by accuracy and others by perplexity.
        MissingExtraError: if the plotting library is not installed.
    """
    quality = quality_of(rows)
    num_panels = 3 if has_simulated(metrics) else 2
    figure = new_figure(5 * num_panels + _INCHES_PER_LETTER * max(len(row["label"]) for row in rows), 8.5)
    layout = figure.add_gridspec(2, num_panels)
    panels = [figure.add_subplot(layout[0, 0])]
    panels += [figure.add_subplot(layout[0, column], sharey=panels[0]) for column in range(1, num_panels)]
    final = figure.add_subplot(layout[1, :])
    key = next(iter(rows[0]["settings"]))
    scale = _Scale.of([row["settings"][key] for row in rows])
    every_series = _series(rows, key)
    shown = _strongest(every_series, rows, quality)
    # Curves belong to the series below, so that a colour has the same meaning in both panels.
    single = [_Series(one.algorithm, "", [position]) for one in shown for position in one.rows]
    curves = _strongest(single, rows, quality)
    positions = [position for curve in curves for position in curve.rows]
    for index, series in enumerate(shown):
        for position in sorted(set(positions).intersection(series.rows)):
            row = rows[position]
            look = _look(index, len(shown), scale.values.index(row["settings"][key]), len(scale.values))
            draw_curve(panels, metrics[position], quality, label=row["label"], **look)
        outcomes = {rows[position]["settings"][key]: rows[position] for position in series.rows}
        _draw_series(final, series.label, outcomes, scale, quality, index, len(shown))
    finish_curves(panels, quality)
    for axes in panels[1:]:
        axes.tick_params(labelleft=False)
    final.set(xlabel=key, ylabel=f"final {quality.axis}")
    tidy(final)
    scale_quality(final, quality)
    scale.apply(final)
    _title(panels[0], "learning curves", len(positions), len(rows))
    errors = any(row[quality.error_key] is not None for row in rows)
    _title(final, f"last round{'; bars: standard error over seeds' if errors else ''}", len(shown), len(every_series))
    for axes, note in ((panels[-1], band_note(metrics)), (final, None)):
        if axes.lines:
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), title=note, alignment="left")
    save(figure, path)


def _series(rows: Sequence[Row], key: str) -> list[_Series]:
    found: dict[str, _Series] = {}
    for position, row in enumerate(rows):
        label = row_label(row["algorithm"], row["settings"], without=key)
        found.setdefault(label, _Series(row["algorithm"], label, [])).rows.append(position)
    return list(found.values())


def _strongest(candidates: Sequence[_Series], rows: Sequence[Row], quality: Quality) -> list[_Series]:
    """Choose at most eight series, kept in their order: the best of each algorithm, then each one's second, ..."""

    def goodness(position: int) -> float:
        return max(quality.goodness(quality.of(rows[row])) for row in candidates[position].rows)

    turns: list[tuple[int, int]] = []
    num_taken: Counter[str] = Counter()
    for position in sorted(range(len(candidates)), key=goodness, reverse=True):
        algorithm = candidates[position].algorithm
        turns.append((num_taken[algorithm], position))
        num_taken[algorithm] += 1
    # The sort is stable: within a turn the better series come first.
    first = sorted(turns, key=lambda turn: turn[0])[:_MAX_LINES]
    return [candidates[position] for position in sorted(position for _, position in first)]


def _look(series: int, num_series: int, value: int, num_values: int) -> dict[str, Any]:
    """Colour and style of a learning curve; the last value of the first varied key is darkest and solid."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    steps = max(1, num_values - 1)
    if num_series == 1:
        return {"color": colormaps["viridis"](0.9 * value / steps)}
    distance = num_values - 1 - value
    white = _PALEST * distance / steps
    colour = tuple((1 - white) * part + white for part in to_rgb(COLOURS[series]))
    return {"color": colour, "linestyle": _LINE_STYLES[distance % len(_LINE_STYLES)]}


def _draw_series(
    axes: Any, label: str, outcomes: Mapping[Any, Row], scale: _Scale, quality: Quality, index: int, num_series: int
) -> None:
    """Draw a line of the lower panel; if it is the only one, its points take the colours of the curves above."""
    known = [value for value in scale.values if value in outcomes and quality.of(outcomes[value]) is not None]
    places = [scale.place(value, aside=index - (num_series - 1) / 2) for value in known]
    means = [quality.factor * outcomes[value][quality.key()] for value in known]
    errors = [quality.factor * (outcomes[value][quality.error_key] or 0.0) for value in known]
    colour = COLOURS[index] if num_series > 1 else "#777777"
    if any(errors):
        axes.errorbar(places, means, yerr=errors, fmt="none", capsize=3, color=colour)
    axes.plot(places, means, color=colour, marker="o", label=label)
    if num_series == 1:
        colours = [_look(0, 1, scale.values.index(value), len(scale.values))["color"] for value in known]
        axes.scatter(places, means, color=colours, zorder=3)


def _title(axes: Any, what: str, num_shown: int, num_all: int) -> None:
    chosen = "" if num_shown == num_all else f" ({num_shown} of {num_all}: each algorithm's best)"
    axes.set_title(f"{what}{chosen}", loc="left", fontsize="medium")
