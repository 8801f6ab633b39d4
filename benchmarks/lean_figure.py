"""Bars of a client's resident memory with and without PyTorch, from results/lean_client.json.

    python benchmarks/lean_figure.py

Writes docs/figures/lean-memory-light.svg and lean-memory-dark.svg.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "figures"
# Text, lesser text, bar without PyTorch, bar with PyTorch.
THEMES = {
    "light": ("#1d2b33", "#5b6b74", "#2b7a78", "#c9d4da"),
    "dark": ("#e6edf0", "#a3b3bb", "#5fb3ae", "#4a5a63"),
}
WIDTH, LEFT, ROW, BAR = 724, 210, 62, 20


def main() -> None:
    """Draw both themes."""
    rows = json.loads((HERE / "results" / "lean_client.json").read_text())["rows"]
    for theme, colours in THEMES.items():
        (FIGURES / f"lean-memory-{theme}.svg").write_text(drawing(rows, colours), encoding="utf-8")


def drawing(rows: list[dict[str, Any]], colours: tuple[str, str, str, str]) -> str:
    """Return the picture as SVG text."""
    text, lesser, lean, whole = colours
    scale = (WIDTH - LEFT - 90) / max(row["torch_mib"] for row in rows)
    height = ROW * len(rows) + 44
    told = "; ".join(f"{row['client']} {row['lean_mib']:.0f} against {row['torch_mib']:.0f} MiB" for row in rows)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'role="img" aria-labelledby="title desc">'
        ),
        '  <title id="title">Memory of a client process</title>',
        f'  <desc id="desc">Without PyTorch against with PyTorch: {told}.</desc>',
        (
            '  <style>text { font: 16px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; '
            f"fill: {text}; }} .small {{ font-size: 14px; fill: {lesser}; }} .end {{ text-anchor: end; }} "
            f".lean {{ fill: {lean}; }} .whole {{ fill: {whole}; }}</style>"
        ),
    ]
    for index, row in enumerate(rows):
        top = 10 + ROW * index
        lines.append(f'  <text class="end" x="{LEFT - 14}" y="{top + BAR + 6}">{row["client"]}</text>')
        bars = ((row["lean_mib"], "lean"), (row["torch_mib"], "whole"))
        for place, (value, kind) in enumerate(bars):
            y, length = top + place * (BAR + 2), value * scale
            lines.append(f'  <rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" rx="2" class="{kind}"/>')
            lines.append(f'  <text class="small" x="{LEFT + length + 8:.0f}" y="{y + 15}">{value:.0f} MiB</text>')
    y = height - 14
    legend = ((LEFT, "lean", "onnxruntime and NumPy"), (LEFT + 220, "whole", "PyTorch"))
    for x, kind, name in legend:
        lines.append(f'  <rect x="{x}" y="{y - 11}" width="12" height="12" rx="2" class="{kind}"/>')
        lines.append(f'  <text class="small" x="{x + 19}" y="{y}">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    main()
