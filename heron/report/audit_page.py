"""HTML page of `heron audit`, which needs no network: table, reconstructions beside originals, limits."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from heron.analysis import Quality
from heron.audit import ATTACKS, Figure
from heron.files import write_atomically
from heron.report.audit_tables import audit_cells, notes_of

_ASSETS = Path(__file__).parent / "assets"


def write_audit_page(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Figure],
    quality: Quality,
    *,
    attacks: Sequence[str],
    picture: Path | None,
    path: Path,
) -> None:
    """Write the page.

    Args:
        title: of the page.
        rows: as of `heron.audit.rows_of`.
        figures: of the attacks that were made.
        quality: the measure that the runs are judged by.
        attacks: their names.
        picture: PNG file of reconstructions; None without any.
        path: the HTML file.

    Raises:
        CheckpointError: if the page cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("heron.report", "assets"), autoescape=True, undefined=StrictUndefined
    )
    headings, cells = audit_cells(rows, figures, quality)
    page = environment.get_template("audit.html.j2").render(
        title=title,
        headings=headings,
        cells=cells,
        attacks=[ATTACKS[name] for name in attacks],
        notes=notes_of(rows),
        picture=None if picture is None else base64.b64encode(picture.read_bytes()).decode("ascii"),
        style=(_ASSETS / "page.css").read_text(encoding="utf-8"),
    )
    write_atomically(path, page.encode())
