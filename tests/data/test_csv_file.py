"""Examples in a CSV file."""

import random

import numpy as np
import pytest

import heron.data.csv_file
from heron.data.csv_file import read_csv
from heron.errors import DataError
from tests.data.tables import NUMBERS, SMALL_IMAGES, TEXTS


def test_one_column_a_number(tmp_path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("\ufefflabel, pixel0,pixel1,pixel2,pixel3\r\n3,0,4,8,16\r\n\r\n1,1,1,1,1\r\n", encoding="utf-8")
    examples = read_csv(path, SMALL_IMAGES)
    batch = examples.batch(np.arange(2), 0)
    np.testing.assert_array_equal(batch.inputs[0], np.array([[[0, 0.25], [0.5, 1]]], np.float32))
    assert batch.labels.tolist() == [3, 1]


def test_one_column_an_input(tmp_path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('note,inputs,label\n"a, b",1 2.5 -3  4,2\n', encoding="utf-8")
    assert read_csv(path, NUMBERS).inputs.tolist() == [[1, 2.5, -3, 4]]
    path.write_text("inputs,labels\n5 6 7,-100 7 8\n9,4\n", encoding="utf-8")
    assert read_csv(path, TEXTS).labels.tolist() == [[-100, 7, 8], [4, -100, -100]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        (b"", "expected one column label"),
        (b"inputs,label\n", "found no row"),
        (b"inputs,label\n1 2 3 4,0\n1 2 3 4\n", "expected 2 fields as in row 1, found 1 in row 3"),
        (b"inputs,label\n1 2 3 4,0\n1 2 x 4,1\n", "finite numbers, found something else in row 3"),
        (b'inputs,label\n"1 2 3 4,0\n', "expected CSV in UTF-8, found"),
        (b"inputs,label\n1 2 3 4,0\n\xff\xfe,1\n", "found other bytes after row"),
        (b"inputs,label\n" + b"1 " * 70_000 + b",1\n", "field larger than field limit"),
    ],
)
def test_other_files_are_refused_in_one_line(content: bytes | None, message: str, tmp_path) -> None:
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path, NUMBERS)
    assert "\n" not in str(caught.value)


def test_a_file_is_bounded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(heron.data.csv_file, "MAX_BYTES", 10)
    (tmp_path / "mine.csv").write_text("inputs,label\n1 2 3 4,0\n", encoding="utf-8")
    with pytest.raises(DataError, match="at most 10 bytes, found 23"):
        read_csv(tmp_path / "mine.csv", NUMBERS)


def test_mutated_files_are_read_or_refused(tmp_path) -> None:
    draw, path = random.Random(0), tmp_path / "mine.csv"
    content = b'label,pixel0,pixel1,pixel2,pixel3\n3,0,4,8,16\n"1",1,1,1,1\n'
    num_read = 0
    for _ in range(100):
        mutated = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            mutated[draw.randrange(len(mutated))] = draw.choice([*b'",\n\r\0 -.xe', draw.randrange(256)])
        path.write_bytes(mutated)
        try:
            read_csv(path, SMALL_IMAGES)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        else:
            num_read += 1
    assert 0 < num_read < 100
