"""Bars of what a client takes with and without PyTorch, from results/lean_client.json and results/lean_flower.json.

    python benchmarks/lean_figure.py

Writes docs/figures/lean-memory-*.svg, a client's process, and docs/figures/lean-flower-*.svg, a round on Flower and its
ClientApps, each for light and for dark pages.
"""

import json
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "figures"
# Text, lesser text, bar without PyTorch, bar with PyTorch, bar of an app that does nothing.
THEMES = {
    "light": ("#1d2b33", "#5b6b74", "#2b7a78", "#c9d4da", "#8a979e"),
    "dark": ("#e6edf0", "#a3b3bb", "#5fb3ae", "#4a5a63", "#7d8b93"),
}
WIDTH, LEFT, BAR = 724, 210, 20
LEAN, WHOLE, NOTHING = "lean", "whole", "nothing"
NAMES = {LEAN: "onnxruntime and NumPy", WHOLE: "PyTorch", NOTHING: "an app that does nothing"}


class Row(NamedTuple):
    """Bars under one name.

    Attributes:
        name: what is measured.
        bars: values by kind of bar, from the top.
        largest: value of the longest bar that shares its scale.
        unit: of the values.
        digits: after the point.
    """

    name: str
    bars: dict[str, float]
    largest: float
    unit: str
    digits: int


def main() -> None:
    """Draw both figures in both themes."""
    clients = json.loads((HERE / "results" / "lean_client.json").read_text())["rows"]
    largest = max(row["torch_mib"] for row in clients)
    memory = [
        Row(row["client"], {LEAN: row["lean_mib"], WHOLE: row["torch_mib"]}, largest, "MiB", 0) for row in clients
    ]
    told = "; ".join(f"{row['client']} {row['lean_mib']:.0f} against {row['torch_mib']:.0f} MiB" for row in clients)
    draw("lean-memory", "Memory of a client process", f"Without PyTorch against with PyTorch: {told}.", memory)
    flower = json.loads((HERE / "results" / "lean_flower.json").read_text())
    kinds = {NOTHING: flower["empty"], LEAN: flower["lean"], WHOLE: flower["torch"]}
    rows = []
    for name, key, unit, digits in (
        ("a round", "round_s", "s", 1),
        ("memory of a ClientApp", "client_app_mib", "MiB", 0),
    ):
        bars = {kind: found[key] for kind, found in kinds.items()}
        rows.append(Row(name, bars, max(bars.values()), unit, digits))
    told = "; ".join(
        f"{row.name}: "
        + ", ".join(f"{NAMES[kind]} {value:.{row.digits}f} {row.unit}" for kind, value in row.bars.items())
        for row in rows
    )
    draw("lean-flower", "A round of three nodes on Flower", f"{told}.", rows)


def draw(name: str, title: str, told: str, rows: list[Row]) -> None:
    """Write a figure for each theme."""
    for theme, colours in THEMES.items():
        (FIGURES / f"{name}-{theme}.svg").write_text(drawing(title, told, rows, colours), encoding="utf-8")


def drawing(title: str, told: str, rows: list[Row], colours: tuple[str, str, str, str, str]) -> str:
    """Return the picture as SVG text."""
    text, lesser, *fills = colours
    tall = len(rows[0].bars) * (BAR + 2) + 18
    height = tall * len(rows) + 44
    styles = " ".join(
        f".{kind} {{ fill: {fill}; }}" for kind, fill in zip(NAMES, fills, strict=True) if kind in rows[0].bars
    )
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'role="img" aria-labelledby="title desc">'
        ),
        f'  <title id="title">{title}</title>',
        f'  <desc id="desc">{told}</desc>',
        (
            '  <style>text { font: 16px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; '
            f"fill: {text}; }} .small {{ font-size: 14px; fill: {lesser}; }} .end {{ text-anchor: end; }} "
            f"{styles}</style>"
        ),
    ]
    for index, row in enumerate(rows):
        top, scale = 10 + tall * index, (WIDTH - LEFT - 90) / row.largest
        lines.append(f'  <text class="end" x="{LEFT - 14}" y="{top + BAR + 6}">{row.name}</text>')
        for place, (kind, value) in enumerate(row.bars.items()):
            y, length = top + place * (BAR + 2), value * scale
            lines.append(f'  <rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" rx="2" class="{kind}"/>')
            said = f"{value:.{row.digits}f} {row.unit}"
            lines.append(f'  <text class="small" x="{LEFT + length + 8:.0f}" y="{y + 15}">{said}</text>')
    y, first = height - 14, LEFT if len(rows[0].bars) < 3 else 24
    step = 220 if len(rows[0].bars) < 3 else 230
    for place, kind in enumerate(rows[0].bars):
        x = first + place * step
        lines.append(f'  <rect x="{x}" y="{y - 11}" width="12" height="12" rx="2" class="{kind}"/>')
        lines.append(f'  <text class="small" x="{x + 19}" y="{y}">{NAMES[kind]}</text>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    main()
