"""Tables of results on stdout."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from heron.algorithms import CONTROLS
from heron.analysis import Quality, quality_of, value_text
from heron.config import PaperCost
from heron.report.privacy import COVERED, PARTIES, epsilon_text, exposure_cells, exposure_note, limits_of_run
from heron.report.units import bytes_text, flops_text, percent_text, seconds_text
from heron.zo.kernels import NUMBA_BYTES, KernelName

Row = Mapping[str, Any]
# A pipe has no width: wide enough that no cell is folded.
_PIPE_WIDTH = 160
_KEY_MARGIN = 20  # for values longer than their key


def print_comparison(recipe: str, rows: Sequence[Row], seeds: Sequence[int], **reached: float | None) -> None:
    """Print quality and client costs of every row and, if nothing is varied, the traffic by kind.

    Args:
        recipe: its name.
        rows: rows of a comparison; their settings become columns.
        seeds: seeds of every row.
        reached: `target`, the quality to reach, if the rows contain the costs of reaching it.

    Raises:
        ReportError: if some rows are judged by accuracy and others by perplexity.
    """
    quality = quality_of(rows)
    varied = list(rows[0]["settings"])
    seeds_text = f"seed {seeds[0]}" if len(seeds) == 1 else f"mean ± standard error of {len(seeds)} seeds"
    table = Table(title=f"{recipe}: {seeds_text}", title_justify="left")
    table.add_column("algorithm")
    for key in varied:
        table.add_column(key, justify="right")
    costs = _cost_columns(rows, reached, quality)
    for heading in (quality.heading(), "gain recovered %", "client peak memory", "client compute / step"):
        table.add_column(heading, justify="right")
    for heading in ("uplink", "downlink", "time / run", *costs):
        table.add_column(heading, justify="right")
    for row in rows:
        cost = row["client_cost"]
        cells = (
            row["algorithm"],
            *(value_text(row["settings"][key]) for key in varied),
            quality.text(quality.of(row), row[quality.error_key]),
            percent_text(row["gain_recovered"]),
            bytes_text(cost["peak_memory_bytes"]),
            flops_text(cost["flops_per_step"]),
            bytes_text(sum(row["uplink_bytes_by_kind"].values())),
            bytes_text(sum(row["downlink_bytes_by_kind"].values())),
            f"{row['elapsed_s']:.1f} s",
            *(text(row) for text in costs.values()),
        )
        table.add_row(*cells)
    console = console_or_pipe(_PIPE_WIDTH + sum(len(key) + _KEY_MARGIN for key in [*varied, *costs]))
    console.print(table)
    if not varied:
        console.print(_traffic_table(rows))
    if any(row["gain_recovered"] is not None for row in rows):
        lower, upper = CONTROLS["lower"], CONTROLS["upper"]
        formula = f"gain recovered = ({quality.name} - {lower}) / ({upper} - {lower})"
        console.print(formula, style="dim", highlight=False)
    if any("epsilon_public" in row for row in rows):
        console.print(COVERED, style="dim", highlight=False)


def print_comparison_note(folder: Path, note: str) -> None:
    """Print where the results are saved.

    Args:
        folder: folder of the results.
        note: what else it contains.
    """
    console_or_pipe().print(f"results in {folder} (comparison.json; {note})", highlight=False, markup=False)


def print_run(recipe: str, summary: Row, folder: Path) -> None:
    """Print the outcome of one run.

    Args:
        recipe: its name.
        summary: of the run.
        folder: run directory.
    """
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    quality = quality_of([summary])
    for split in ("test", "validation"):
        table.add_row(quality.heading(split), quality.text(quality.of(summary, split)))
    for direction in ("uplink", "downlink"):
        for kind, count in summary[f"{direction}_bytes_by_kind"].items():
            table.add_row(f"{direction} {kind}", bytes_text(count))
    for heading, text in _cells_of_run(summary).items():
        table.add_row(heading, text)
    console = console_or_pipe()
    console.print(f"{recipe}: {summary['algorithm']}, round {summary['round']}", style="italic", highlight=False)
    console.print(table)
    if "delta" in summary:
        console.print(COVERED, style="dim", highlight=False)
    for limit in limits_of_run(summary):
        console.print(limit, highlight=False, markup=False, soft_wrap=True)
    if note := exposure_note(summary):
        console.print(note, style="dim", highlight=False)
    console.print(f"results in {folder}", highlight=False, markup=False)


def _cells_of_run(summary: Row) -> dict[str, str]:
    """Write how long a run took and what it disclosed, by heading."""
    cells = {"time": f"{summary['elapsed_s']:.1f} s"}
    if "rounds_without_update" in summary:
        cells["rounds without update"] = f"{summary['rounds_without_update']} of {summary['round']}"
    if "delta" in summary:
        cells |= {f"epsilon against {party}": epsilon_text(summary, key) for key, party in PARTIES.items()}
        cells["at delta"] = f"{summary['delta']:g}"
    cells |= exposure_cells(summary)
    if "simulated_s" in summary:
        cells["simulated time"] = seconds_text(summary["simulated_s"])
    return cells


def print_kernel_note(kernel: KernelName) -> None:
    """Name the memory of a kernel's compiler, which no table of tensors counts.

    Args:
        kernel: `client.kernel`.
    """
    if kernel == "numba":
        note = f"client.kernel=numba: numba takes {bytes_text(NUMBA_BYTES)} in the process, which are not counted here"
        console_or_pipe().print(note, highlight=False, soft_wrap=True)


def print_costs(recipe: str, rows: Sequence[Row], paper: Mapping[str, PaperCost] | None = None) -> None:
    """Print the cost of one client step by algorithm, with the memory broken down and the paper's figures below.

    Args:
        recipe: its name.
        rows: cost of each algorithm.
        paper: costs that a paper reports, by algorithm.
    """
    table = Table(title=f"{recipe}: one client step", title_justify="left")
    table.add_column("")
    for row in rows:
        table.add_column(row["algorithm"], justify="right")
    table.add_row("peak memory", *(bytes_text(row["peak_memory_bytes"]) for row in rows))
    for category in rows[0]["memory_breakdown_bytes"]:
        table.add_row(f"  {category}", *(bytes_text(row["memory_breakdown_bytes"][category]) for row in rows))
    table.add_row("compute", *(flops_text(row["flops_per_step"]) for row in rows))
    table.add_row("forward passes", *(str(row["forwards_per_step"]) for row in rows))
    table.add_row("smashed data", *(bytes_text(row["smashed_bytes_per_step"]) for row in rows))
    table.add_row("time", *(f"{1000 * row['seconds_per_step']:.3g} ms" for row in rows))
    if paper:
        known = [paper.get(row["algorithm"]) for row in rows]
        table.add_section()
        table.add_row("paper: peak memory", *(bytes_text(cost.peak_memory_bytes) if cost else "-" for cost in known))
        table.add_row("paper: compute", *(flops_text(cost.flops_per_step) if cost else "-" for cost in known))
    console_or_pipe().print(table)


def _cost_columns(
    rows: Sequence[Row], reached: Mapping[str, float | None], quality: Quality
) -> dict[str, Callable[[Row], str]]:
    """Columns of privacy spent, of simulated time and of the cost of reaching the target, if there are any."""
    columns: dict[str, Callable[[Row], str]] = {}
    deltas = {f"{row['delta']:g}" for row in rows if "delta" in row}
    if deltas:
        heading = f"epsilon, public, at delta {' or '.join(sorted(deltas))}"
        columns[heading] = lambda row: epsilon_text(row, "epsilon_public")
    simulated = any("simulated_s" in row for row in rows)
    if simulated:
        columns["simulated time"] = lambda row: seconds_text(row.get("simulated_s"))
    if "target" in reached:
        goal = f"to {quality.text(reached['target'])} {quality.unit}".strip()
        columns[f"traffic {goal}"] = _traffic_to_target
        if simulated:
            columns[f"simulated time {goal}"] = lambda row: seconds_text(row["simulated_s_to_target"])
    return columns


def _traffic_to_target(row: Row) -> str:
    both = [row[f"{direction}_bytes_to_target"] for direction in ("uplink", "downlink")]
    return "-" if None in both else bytes_text(sum(both))


def _traffic_table(rows: Sequence[Row]) -> Table:
    kinds = [
        (direction, kind)
        for direction in ("uplink", "downlink")
        for kind in sorted({kind for row in rows for kind in row[f"{direction}_bytes_by_kind"]})
    ]
    table = Table(title="traffic by kind, all clients and rounds of one run", title_justify="left")
    table.add_column("algorithm")
    for direction, kind in kinds:
        table.add_column(f"{direction} {kind}", justify="right")
    for row in rows:
        counts = (row[f"{direction}_bytes_by_kind"].get(kind, 0) for direction, kind in kinds)
        table.add_row(row["algorithm"], *(bytes_text(count) if count else "-" for count in counts))
    return table


def console_or_pipe(pipe_width: int = _PIPE_WIDTH) -> Console:
    """Console on stdout, as wide as the terminal, or wide enough for a table.

    Args:
        pipe_width: number of columns if stdout is not a terminal.
    """
    console = Console()
    return console if console.is_terminal else Console(width=pipe_width)
