"""Table of `heron plan`: clients that fit into a device's memory, on one screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from heron.report.tables import console_or_pipe
from heron.report.units import bytes_text, flops_text
from heron.wire.groups import Settings

Row = Mapping[str, Any]
# Number of rows that, with the recipe's own rows and the other clients, fill about one screen.
_MAX_OTHER_WAYS = 12
# Categories that the client holds all the time; the others are allocated and freed within a step.
_HELD = ("parameters", "buffers", "optimizer_state", "inputs")
_PASSING = ("activations", "gradients", "temporaries")


def print_plan(recipe: str, memory_bytes: int, rows: Sequence[Row], own: Sequence[Row], refusal: str | None) -> None:
    """Print every boundary of the recipe's own client, the best of every other variant, and other algorithms' clients.

    Args:
        recipe: its name.
        memory_bytes: memory budget of a step.
        rows: all variants.
        own: the variants that differ from the recipe only in `client.exact`.
        refusal: message if none of those fits.
    """
    modules = _num_modules(rows)
    others = [row for row in rows if row["exact"] is not None and row not in own]
    ways = sorted(_best_of_each_way(others), key=lambda row: _rank(row, modules))
    shown = ways[:_MAX_OTHER_WAYS]
    beside = [row for row in rows if row["exact"] is None]
    table = _table(f"{recipe}: one client step in {bytes_text(memory_bytes)}")
    for section in (own, shown, beside):
        for row in section:
            table.add_row(*_cells(row, modules), style="bold" if row["chosen"] else "" if row["fits"] else "dim")
        table.add_section()
    console = console_or_pipe()
    console.print(table)
    num_left_out = len(others) - len(shown)
    notes = [f"* the recipe without a budget: client.exact={row['exact']}" for row in own if row["default"]]
    notes.append(_outcome(own, memory_bytes) if refusal is None else f"nothing fits: {refusal}")
    if num_left_out:
        notes.append(
            f"other cuts, micro-batches and checkpointing: the best of each; {num_left_out} more rows in --json FILE"
        )
    console.print("\n".join(notes), highlight=False, markup=False, soft_wrap=True)


def print_upload_note(settings: Settings, period: int) -> None:
    """Print how often an example is uploaded in a run.

    Args:
        settings: of the run.
        period: local steps from one upload to the next.
    """
    client, clients = settings.client, settings.clients
    rounds = f"{settings.rounds} rounds"
    if clients.per_round:
        rounds += f" with {clients.per_round} of {clients.total} clients"
    if client.local_steps:
        number = -(-client.local_steps // period) * client.batch_size
        often = f"{number}/n times a round by a client with n examples, over {rounds}"
    else:
        share = (clients.per_round or clients.total) / clients.total
        often = f"about {settings.rounds * share / period:.4g} times in {rounds}"
    text = (
        f"an example's smashed data and label are uploaded {often}; a larger client.upload_period uploads it less often"
    )
    console_or_pipe().print(text, highlight=False, markup=False, soft_wrap=True)


def _outcome(own: Sequence[Row], memory_bytes: int) -> str:
    (chosen,) = (row for row in own if row["chosen"])
    return (
        f"chosen: client.exact={chosen['exact']}, {bytes_text(chosen['peak_memory_bytes'])}; to train it: "
        f"--set client.memory_budget={memory_bytes}"
    )


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("", "algorithm", "cut"):
        table.add_column(heading)
    for heading in ("exact", "micro-batch"):
        table.add_column(heading, justify="right")
    table.add_column("checkpointing")
    for heading in ("peak", "held", *_PASSING, "compute", "smashed"):
        table.add_column(heading, justify="right")
    table.add_column("fits")
    return table


def _cells(row: Row, modules: Mapping[str | int, int]) -> list[str]:
    parts = row["memory_breakdown_bytes"]
    return [
        (">" if row["chosen"] else "") + ("*" if row["default"] else ""),
        row["algorithm"] if row["learning"] in (None, "zeroth_order") else f"{row['algorithm']}, {row['learning']}",
        str(row["cut"]),  # a layer, or a language model's number of blocks
        "-" if row["exact"] is None else f"{row['exact']} of {modules[row['cut']]}",
        str(row["micro_batch"] or "-"),
        "yes" if row["checkpointing"] else "-",
        bytes_text(row["peak_memory_bytes"]),
        bytes_text(sum(parts[category] for category in _HELD)),
        *(bytes_text(parts[category]) for category in _PASSING),
        flops_text(row["flops_per_step"]),
        bytes_text(row["smashed_bytes_per_step"]),
        "yes" if row["fits"] else "no",
    ]


def _num_modules(rows: Sequence[Row]) -> dict[str | int, int]:
    """Number of modules of a client at each cut; the variants include a client with all of them exact."""
    modules: dict[str | int, int] = {}
    for row in rows:
        if row["exact"] is not None:
            modules[row["cut"]] = max(modules.get(row["cut"], 0), row["exact"])
    return modules


def _best_of_each_way(rows: Sequence[Row]) -> list[Row]:
    """Among rows that differ only in `exact`, the largest that fits, else the one with the lowest peak."""
    ways: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row["learning"], row["cut"], row["micro_batch"], row["checkpointing"])
        ways.setdefault(key, []).append(row)
    return [min(way, key=_preference) for way in ways.values()]


def _preference(row: Row) -> tuple[bool, int]:
    return not row["fits"], -row["exact"] if row["fits"] else row["peak_memory_bytes"]


def _rank(row: Row, modules: Mapping[str | int, int]) -> tuple[Any, ...]:
    """Sort key: rows that fit, by the part left to zeroth order and by cost; then others, nearest to fitting first."""
    if not row["fits"]:
        return True, row["peak_memory_bytes"]
    return False, modules[row["cut"]] - row["exact"], row["flops_per_step"], row["peak_memory_bytes"]
