"""Table and picture of `heron audit`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from heron.analysis import Quality
from heron.audit import Figure
from heron.report.plots import new_figure, save
from heron.report.tables import console_or_pipe

Row = Mapping[str, Any]
ImagePair = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Images in [0, 1], and what an attack rebuilt of them, shape (n, C, H, W) each."""

_PIPE_WIDTH = 220
_ATTACKERS = (
    "Attackers know the client's part and the run's validation and test examples, and see what clients of the trained "
    "model upload."
)
_MEANINGS = (
    (("decoder_ssim", "inversion_ssim"), "SSIM: likeness to the true image, 1 for the image itself."),
    (
        ("mean_ssim", "token_guess", "label_guess"),
        "A figure is to be compared with that of somebody who sees nothing (mean image, guessed).",
    ),
    (("distance_correlation",), "Distance correlation: 0 for independent, 1 for alike."),
    (("membership_auc",), "Membership AUC: 0.5 is a guess."),
    (("epsilon_claimed",), "A bound on epsilon above the claim proves a mistake; one below proves nothing."),
)
"""Names of figures, and what is said where a table has one of them."""
_LAST = "An attack that fails proves nothing: a better one may not."


def print_audit(title: str, rows: Sequence[Row], figures: Mapping[str, Figure], quality: Quality) -> None:
    """Print a row for each configuration, and what the columns mean.

    Args:
        title: of the table.
        rows: as of `heron.audit.rows_of`.
        figures: of the attacks that were made.
        quality: the measure that the runs are judged by.
    """
    headings, cells = audit_cells(rows, figures, quality)
    table = Table(title=title, title_justify="left")
    table.add_column(headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    for of_row in cells:
        table.add_row(*of_row)
    console = console_or_pipe(_PIPE_WIDTH)
    console.print(table)
    for note in notes_of(rows):
        console.print(note, highlight=False, markup=False, soft_wrap=True)


def audit_cells(
    rows: Sequence[Row], figures: Mapping[str, Figure], quality: Quality
) -> tuple[list[str], list[list[str]]]:
    """Write the grid as texts; figures that no row has make no column.

    Args:
        rows: as of `heron.audit.rows_of`.
        figures: of the attacks that were made.
        quality: the measure that the runs are judged by.

    Returns:
        Headings, and the cells of each row.
    """
    found = [key for key in figures if any(key in row["figures"] for row in rows)]
    headings = ["configuration", "seeds", quality.heading(), *(figures[key].heading for key in found)]
    compares = any(row["change"] is not None for row in rows)
    headings += ["against the first row"] if compares else []
    cells = []
    for row in rows:
        texts = [_figure(row, key, figures[key]) for key in found]
        shown = "-" if row["quality"] is None else quality.text(row["quality"], row["quality_error"])
        own = [row["label"], str(len(row["seeds"])), shown, *texts]
        cells.append([*own, *([_change(row, figures)] if compares else [])])
    return headings, cells


def notes_of(rows: Sequence[Row]) -> list[str]:
    """Return the meaning of the columns that there are, and the notes of the attacks.

    Args:
        rows: as of `heron.audit.rows_of`.
    """
    found = {key for row in rows for key in row["figures"]}
    meaning = [text for keys, text in _MEANINGS if not found.isdisjoint(keys)]
    notes = dict.fromkeys(f"{row['label']}: {note}" for row in rows for note in row["notes"])
    return [" ".join([_ATTACKERS, *meaning, _LAST]), *notes]


def plot_audit(pictures: Mapping[str, ImagePair], path: Path) -> None:
    """Draw originals, and below them what each attack on each configuration rebuilt of them.

    Args:
        pictures: at least one, by configuration and attack.
        path: PNG file to write.

    Raises:
        MissingExtraError: if the plotting library is not installed.
        CheckpointError: if the file cannot be written.
    """
    lines: list[tuple[str, NDArray[np.float32]]] = []
    for label, (originals, rebuilt) in pictures.items():
        # Another seed or order of examples: its originals are shown again.
        if not lines or not any(np.array_equal(originals, images) for _, images in lines):
            lines.append(("original", originals))
        lines.append((label, rebuilt))
    columns = max(len(images) for _, images in lines)
    figure = new_figure(2.6 + 0.62 * columns, 0.72 * len(lines))
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for of_line, (label, images) in zip(axes, lines, strict=True):
        for place in of_line:
            place.set(xticks=[], yticks=[])
            place.axis("off")
        for place, image in zip(of_line, images, strict=False):
            place.imshow(_picture(image), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        of_line[0].axis("on")
        of_line[0].spines[:].set_visible(False)
        of_line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    save(figure, path)


def _picture(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image as the plotting library has it: grey, shape (H, W), or in colours, shape (H, W, 3)."""
    return image.transpose(1, 2, 0) if len(image) == 3 else image.mean(0)


def _figure(row: Row, key: str, figure: Figure) -> str:
    if key not in row["figures"]:
        return "-"
    factor, digits = (100.0, 1) if figure.percent else (1.0, 2)
    error = row["errors"][key]
    text = f"{factor * row['figures'][key]:.{digits}f}"
    return text if error is None else f"{text} ± {factor * error:.{digits}f}"


def _change(row: Row, figures: Mapping[str, Figure]) -> str:
    """Write the change of the leak; one within noise, or upwards, is called no protection."""
    if row["change"] is None:
        return "-"
    figure = figures[row["leak"]]
    factor, digits = (100.0, 1) if figure.percent else (1.0, 2)
    error = "" if row["change_error"] is None else f" ± {factor * row['change_error']:.{digits}f}"
    text = f"{figure.heading} {factor * row['change']:+.{digits}f}{error}"
    return text if row["protects"] else f"{text}: no protection"
