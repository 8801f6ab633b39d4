"""Table of `heron plan --memory device`: the client of each class of devices."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from heron.report.tables import console_or_pipe
from heron.report.units import bytes_text, flops_text

_SHOWN_CLIENTS = 8


def print_fleet(recipe: str, algorithm: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each class of devices.

    Args:
        recipe: its name.
        algorithm: of the clients.
        rows: classes with their clients, budget, boundary and cost.
    """
    table = Table(title=f"{recipe}: {algorithm}'s clients on these devices", title_justify="left")
    table.add_column("device")
    table.add_column("clients")
    for heading in ("memory", "exact", "peak", "activations", "compute", "smashed"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = (
            row["device"],
            _clients_text(row["clients"]),
            bytes_text(row["memory_bytes"]),
            str(row["exact"]),
            bytes_text(row["peak_memory_bytes"]),
            bytes_text(row["memory_breakdown_bytes"]["activations"]),
            flops_text(row["flops_per_step"]),
            bytes_text(row["smashed_bytes_per_step"]),
        )
        table.add_row(*cells)
    console = console_or_pipe()
    console.print(table)
    console.print(
        "each device gets the largest client.exact that fits; to train it: --set client.memory_budget=device",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _clients_text(clients: Sequence[int]) -> str:
    """Numbers of clients, the first few of many."""
    shown = ", ".join(map(str, clients[:_SHOWN_CLIENTS]))
    more = len(clients) - _SHOWN_CLIENTS
    return f"{shown} and {more} more" if more > 0 else shown or "-"
