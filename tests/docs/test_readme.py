"""README.md is short, its figures are those of the results, and pictures for light and dark pages show the same."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIGURES = ROOT / "docs" / "figures"
MAX_LINES, MAX_BYTES = 150, 9000


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES
    assert len(README.encode()) <= MAX_BYTES


def test_its_qualities_are_those_of_the_study() -> None:
    study = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    found = re.findall(r"\d+\.\d ± \d+\.\d", README)
    assert len(found) >= 10
    assert [text for text in found if text not in study] == []


def test_its_memory_is_that_of_the_results() -> None:
    rows = json.loads((ROOT / "benchmarks/results/language_cost.json").read_text())["rows"].values()
    measured = {f"{row['peak_memory_bytes'] / 2**30:.2f}" for row in rows}
    table = README[README.index("| client | digits") :]
    found = re.findall(r"(\d\.\d\d)(?: GiB| with checkpointing)", table)
    assert len(found) >= 6
    assert set(found) <= measured


def test_its_bars_are_those_of_the_results() -> None:
    rows = json.loads((ROOT / "benchmarks/results/lean_client.json").read_text())["rows"]
    told = README[README.index("Resident memory of a fresh client process") :].partition('"')[0]
    for row in rows:
        assert {f"{row['lean_mib']:.0f}", f"{row['torch_mib']:.0f}"} <= set(re.findall(r"\d+", told))


def test_its_pictures_exist() -> None:
    shown = re.findall(r'src(?:set)?="([^"]+)"', README)
    assert len(shown) == 4
    assert all((ROOT / name).is_file() for name in shown)


def without_style(path: Path) -> str:
    return re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("light", sorted(FIGURES.glob("*-light.svg")), ids=lambda path: path.stem)
def test_light_and_dark_pictures_differ_in_their_colours_alone(light: Path) -> None:
    dark = light.with_name(light.name.replace("-light", "-dark"))
    assert without_style(light) == without_style(dark)
    assert light.read_text() != dark.read_text()
    for picture in (light, dark):
        text = picture.read_text(encoding="utf-8")
        assert "<title" in text
        assert "<desc" in text
        assert re.findall(r'(?:href|src)="|url\((?!#)', text) == []
