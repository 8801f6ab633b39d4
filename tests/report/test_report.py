"""Numbers as people read them, and a plot that is a picture."""

import pytest

from heron.report import plot_learning_curves
from heron.report.units import bytes_text, flops_text, percent_text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (244 * 2**20, "244 MiB"), (2**50, "1024 TiB")]
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(("count", "text"), [(999, "999 FLOP"), (39.9e9, "39.9 GFLOP"), (5.26e12, "5.3 TFLOP")])
def test_flops(count: float, text: str) -> None:
    assert flops_text(count) == text


def test_percent() -> None:
    assert percent_text(None) == "-"
    assert percent_text(0.7912) == "79.1"


def test_plot_is_a_png_with_both_algorithms(tmp_path) -> None:
    rows = [{"round": n, "test_accuracy": 0.1 * n, "uplink_bytes": 1000 * n} for n in range(1, 5)]
    path = tmp_path / "plot.png"
    plot_learning_curves({"heron": [rows, rows[:3]], "frozen": [rows]}, path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert path.stat().st_size > 10_000
