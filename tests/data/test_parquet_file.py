"""Examples in a parquet file."""

import io
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from pyarrow import parquet

import heron.data.parquet_file
from heron.data.example_rows import ExampleForm
from heron.data.parquet_file import read_parquet
from heron.errors import DataError, MissingExtraError
from tests.data.tables import COLOUR, NUMBERS, SMALL_IMAGES, TEXTS


def write(path, **columns: Any) -> None:
    parquet.write_table(pa.table(columns), path)


def encoded(pixels: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = PIL.Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(stream, kind)
    return stream.getvalue()


PICTURES = np.random.default_rng(0).integers(256, size=(3, 2, 2, 3)).astype(np.uint8)


@pytest.mark.parametrize("as_struct", [True, False])
def test_images_are_those_that_were_encoded(as_struct: bool, tmp_path) -> None:
    """In the two forms that parquet files of images have: bytes, and the hub's struct of bytes and path."""
    cells: list[Any] = [encoded(picture) for picture in PICTURES]
    if as_struct:
        cells = [{"bytes": cell, "path": None} for cell in cells]
    write(tmp_path / "mine.parquet", img=cells, label=[2, 0, 1], more=["a", "b", "c"])
    examples = read_parquet(tmp_path / "mine.parquet", COLOUR)
    assert COLOUR.pixels is not None
    expected = COLOUR.pixels.scaled(PICTURES.transpose(0, 3, 1, 2))
    assert examples.batch(np.arange(3), 0).inputs.tobytes() == expected.tobytes()
    assert examples.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("kind", ["flat", "nested", "fixed", "columns"])
def test_numbers_in_lists_and_columns(kind: str, tmp_path) -> None:
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
    columns: dict[str, Any] = {
        "flat": {"inputs": numbers.tolist()},
        "nested": {"inputs": numbers.reshape(3, 2, 2).tolist()},
        "fixed": {"inputs": pa.FixedSizeListArray.from_arrays(numbers.reshape(-1), 4)},
        "columns": {f"input{place}": numbers[:, place] for place in range(4)},
    }[kind]
    write(tmp_path / "mine.parquet", labels=np.arange(3, dtype=np.int32), **columns)
    examples = read_parquet(tmp_path / "mine.parquet", NUMBERS)
    np.testing.assert_array_equal(examples.inputs, numbers)
    assert examples.labels.dtype == np.int64


def test_texts(tmp_path) -> None:
    write(tmp_path / "mine.parquet", inputs=[[5, 6, 7], [9]], labels=[[-100, 7, 8], [4]])
    examples = read_parquet(tmp_path / "mine.parquet", TEXTS)
    assert examples.inputs.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert examples.labels.tolist() == [[-100, 7, 8], [4, -100, -100]]


def test_more_rows_than_are_read_at_a_time(tmp_path) -> None:
    write(tmp_path / "mine.parquet", label=range(200), **{f"pixel{place}": [place] * 200 for place in range(4)})
    assert read_parquet(tmp_path / "mine.parquet", SMALL_IMAGES).labels.tolist() == [*range(200)]


SQUARE = encoded(PICTURES[0])
REFUSED: dict[str, tuple[ExampleForm, dict[str, Any], str]] = {
    "no image": (COLOUR, {"img": [b"no image"], "label": [0]}, "PNG or JPEG image, found something else in row 1"),
    "half an image": (COLOUR, {"img": [SQUARE, SQUARE[:40]], "label": [0, 1]}, "found something else in row 2"),
    "nothing": (COLOUR, {"img": pa.array([None], pa.binary()), "label": [0]}, "found none in row 1"),
    "text": (COLOUR, {"img": ["a"], "label": [0]}, "expected an encoded image, found none in row 1"),
    "another size": (
        COLOUR,
        {"img": [encoded(np.zeros((3, 2, 3), np.uint8))], "label": [0]},
        "2x2 in mode RGB, found 2x3 in mode RGB in row 1",
    ),
    "transparency": (COLOUR, {"img": [encoded(PICTURES[0], mode="RGBA")], "label": [0]}, "found 2x2 in mode RGBA"),
    "another format": (COLOUR, {"img": [encoded(PICTURES[0], "BMP")], "label": [0]}, "expected a PNG or JPEG"),
    "images of another depth": (SMALL_IMAGES, {"img": [SQUARE], "label": [0]}, "are no images of 8 bits"),
    "no label": (NUMBERS, {"inputs": [[1.0] * 4], "label": pa.array([None], pa.int64())}, "1 and|4 and 0"),
    "a hole": (NUMBERS, {"inputs": [[1.0, None, 2.0, 3.0]], "label": [0]}, "finite numbers, found something else"),
    "a hole among tokens": (TEXTS, {"inputs": [[1, None]], "labels": [[1, 2]]}, "whole numbers"),
    "words": (NUMBERS, {"inputs": [["a"] * 4], "label": [0]}, "finite numbers, found something else in row 1"),
    "no row": (NUMBERS, {"inputs": pa.array([], pa.list_(pa.float32())), "label": []}, "found no row"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_other_tables_are_refused_in_one_line(name: str, tmp_path) -> None:
    form, columns, message = REFUSED[name]
    write(tmp_path / "mine.parquet", **columns)
    with pytest.raises(DataError, match=message) as caught:
        read_parquet(tmp_path / "mine.parquet", form)
    assert "\n" not in str(caught.value)


def test_a_picture_that_would_fill_the_memory_is_not_decoded(tmp_path) -> None:
    huge = io.BytesIO()
    PIL.Image.new("1", (20_000, 20_000)).save(huge, "PNG")
    write(tmp_path / "mine.parquet", image=[huge.getvalue()], label=[0])
    with pytest.raises(DataError, match="in row 1"):
        read_parquet(tmp_path / "mine.parquet", COLOUR)


def test_absent_and_large_files(tmp_path, monkeypatch) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_parquet(tmp_path / "mine.parquet", NUMBERS)
    (tmp_path / "mine.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="expected a parquet file, found one that does not read"):
        read_parquet(tmp_path / "mine.parquet", NUMBERS)
    monkeypatch.setattr(heron.data.parquet_file, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="at most 10 bytes, found 21"):
        read_parquet(tmp_path / "mine.parquet", NUMBERS)


def test_without_pyarrow(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(heron.data.parquet_file, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'pyarrow'.*heron-sfl\[tables\]"):
        read_parquet(tmp_path / "mine.parquet", NUMBERS)


def test_without_pillow(tmp_path, monkeypatch) -> None:
    """A package that cannot be imported comes first on the path, which the reading process takes over."""
    (tmp_path / "PIL.py").write_text("raise ImportError", encoding="utf-8")
    write(tmp_path / "mine.parquet", image=[SQUARE], label=[0])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match=r"'pillow'.*heron-sfl\[tables\]"):
        read_parquet(tmp_path / "mine.parquet", COLOUR)


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        "print('no JSON')",
        'print(\'{"arrays": [["float32", [3, 4]], ["int64", [3]]], "pixels": false}\')',
        "import sys; sys.stdin.buffer.read(); print('{}')",
    ],
)
def test_a_reader_that_ends_too_early_is_a_file_that_does_not_read(program: str, tmp_path, monkeypatch) -> None:
    write(tmp_path / "mine.parquet", inputs=[[1.0, 2, 3, 4]], label=[0])
    monkeypatch.setattr(heron.data.parquet_file, "_PROGRAM", program.replace("{", "{{").replace("}", "}}"))
    with pytest.raises(DataError, match="found one that does not read") as caught:
        read_parquet(tmp_path / "mine.parquet", NUMBERS)
    assert "\n" not in str(caught.value)
