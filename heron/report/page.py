"""HTML report on one page that needs no network. Charts are drawn by Chart.js, which the page contains."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from heron.algorithms import CONTROLS
from heron.analysis import quality_of
from heron.files import write_atomically
from heron.report.collect import SavedRun, collect_runs
from heron.report.groups import Group, curve, differences, group_runs, rows
from heron.report.privacy import PARTIES, exposure_rows, privacy_note, privacy_rows
from heron.report.units import bytes_text, flops_text, percent_text, seconds_text

_ASSETS = Path(__file__).parent / "assets"
# Categories of `heron.metering`, from the bottom of the bar.
_CATEGORIES = ("parameters", "buffers", "optimizer_state", "inputs", "activations", "gradients", "temporaries")
# Kinds of `heron.wire`: first what is derived from data, then the model, then overhead.
_KINDS = ("smashed", "cut_gradient", "labels", "model", "scalars", "masks", "framing")


def write_report(directories: Sequence[Path], path: Path) -> list[str]:
    """Write the report of some runs.

    Args:
        directories: run directories, or folders that contain run directories at any depth.
        path: the HTML file.

    Returns:
        Warnings, one line each: unfinished runs, damaged lines, runs of different recipes. The page shows them, too.

    Raises:
        ReportError: if a folder contains no run, a run has no finished round, or some runs are judged by accuracy and
            others by perplexity.
        CheckpointError: if the page cannot be written.
    """
    runs = collect_runs(directories)
    warnings = [*_recipe_warning(runs), *(warning for run in runs for warning in run.warnings)]
    environment = Environment(
        loader=PackageLoader("heron.report", "assets"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"bytes": bytes_text, "flops": flops_text, "seconds": seconds_text}
    page = environment.get_template("page.html.j2").render(
        **_content(group_runs(runs)),
        recipes=sorted({str(run.config["recipe"]) for run in runs}),
        num_runs=len(runs),
        warnings=warnings,
        script=(_ASSETS / "page.js").read_text(encoding="utf-8"),
        style=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        chart_library=(_ASSETS / "chart.umd.min.js").read_text(encoding="utf-8"),
    )
    write_atomically(path, page.encode())
    return warnings


def _content(groups: Sequence[Group]) -> dict[str, Any]:
    """Values for the template, and the numbers that the charts draw."""
    quality = quality_of(row for group in groups for run in group.runs for row in run.metrics)
    table = rows(groups, quality)
    for row in table:
        row["quality_text"] = quality.text(row["quality"], row["standard_error"])
        row["gain_text"] = percent_text(row["gain_recovered"])
    curves = [curve(group, quality) for group in groups]
    columns = ("uplink_by_kind", "downlink_by_kind")
    found = {kind for row in table for column in columns for kind in row[column]}
    kinds = [*_KINDS, *sorted(found - set(_KINDS))]
    return {
        "quality": quality,
        "controls": CONTROLS,
        "table": table,
        "differences": differences(groups),
        "privacy": privacy_rows(groups),
        "privacy_note": privacy_note(),
        "exposure": exposure_rows(groups),
        "parties": list(PARTIES.values()),
        "labels": [group.label for group in groups],
        "has_simulated": any(row["simulated"] is not None for row in table),
        "target_text": f"{quality.text(table[0]['target'])} {quality.unit}".strip(),
        "has_bands": any(len(group.runs) > 1 for group in groups),
        "chart_data": {
            "labels": [group.label for group in groups],
            "quality": asdict(quality) | {"axis": quality.axis},
            "curves": curves,
            "memory": _stack(table, "memory_breakdown", _CATEGORIES),
            "uplink": _stack(table, "uplink_by_kind", kinds),
            "downlink": _stack(table, "downlink_by_kind", kinds),
        },
    }


def _stack(table: Sequence[dict[str, Any]], column: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Stacked bars, first kind first, with a value for every group. A kind has one colour on the page."""
    return [
        {"kind": kind, "colour": colour, "values": [row[column].get(kind, 0) for row in table]}
        for colour, kind in enumerate(kinds)
        if any(row[column].get(kind) for row in table)
    ]


def _recipe_warning(runs: Sequence[SavedRun]) -> list[str]:
    recipes = sorted({str(run.config["recipe"]) for run in runs})
    if len(recipes) == 1:
        return []
    return [f"runs of different recipes in one report ({', '.join(recipes)}): their figures cannot be compared"]
