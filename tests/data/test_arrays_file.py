"""Examples of a client without PyTorch, from a file of NumPy arrays."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from heron.data.arrays_file import read_arrays
from heron.errors import DataError


def test_examples_are_read(tmp_path) -> None:
    np.savez(tmp_path / "mine.npz", inputs=np.arange(12.0).reshape(4, 3), labels=np.arange(4))
    examples = read_arrays(tmp_path / "mine.npz")
    assert len(examples) == 4
    batch = examples.batch(np.array([2, 0]), seed=0)
    assert batch.labels.tolist() == [2, 0]
    assert batch.inputs[0].tolist() == [6, 7, 8]


def compressed(path: Path, *, at: int, value: int) -> None:
    np.savez_compressed(path, inputs=np.arange(12.0).reshape(4, 3), labels=np.arange(4))
    content = bytearray(path.read_bytes())
    content[at] = value
    path.write_bytes(content)


def claimed(path: Path) -> None:
    """A file whose header says 2^45 numbers."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (35184372088832,), }"
    header = header.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("inputs.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


def test_a_file_with_a_wrong_byte_is_read_or_refused(tmp_path) -> None:
    path = tmp_path / "mine.npz"
    compressed(path, at=0, value=80)
    for at in range(path.stat().st_size):
        compressed(path, at=at, value=255)
        try:
            read_arrays(path)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def pickled(path: Path) -> None:
    np.savez(path, inputs=np.array([{"a": 1}], dtype=object), labels=np.zeros(1))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "cannot read"),
        (lambda path: path.write_bytes(b"no zip"), "arrays named inputs and labels"),
        (lambda path: np.savez(path, inputs=np.zeros(3)), "arrays named inputs and labels"),
        (pickled, "arrays named inputs and labels"),
        (claimed, "arrays named inputs and labels"),
        (lambda path: np.savez(path, inputs=np.zeros((3, 2)), labels=np.zeros(2)), r"shapes \(3, 2\) and \(2,\)"),
        (lambda path: np.savez(path, inputs=np.zeros((0, 2)), labels=np.zeros(0)), "at least one"),
        (lambda path: np.savez(path, inputs=np.zeros(()), labels=np.zeros(())), "at least one"),
    ],
)
def test_other_files_are_refused_in_one_line(write, message: str, tmp_path) -> None:
    write(tmp_path / "mine.npz")
    with pytest.raises(DataError, match=message) as caught:
        read_arrays(tmp_path / "mine.npz")
    assert "\n" not in str(caught.value)


def test_texts_are_as_long_as_the_longest_of_a_batch(tmp_path) -> None:
    """Batches are those of training: padding that no text of the batch needs is left out."""
    inputs = np.arange(1, 16).reshape(3, 5)
    labels = np.array([[-100, 2, -100, -100, -100], [-100, 7, 8, 9, 10], [-100] * 5])
    np.savez(tmp_path / "texts.npz", inputs=inputs, labels=labels)
    examples = read_arrays(tmp_path / "texts.npz")
    for positions, length in (([0], 2), ([0, 1], 5), ([0, 2], 2), ([2], 5)):
        batch = examples.batch(np.array(positions), 0)
        assert batch.inputs.tolist() == inputs[positions, :length].tolist()
        assert batch.labels.tolist() == labels[positions, :length].tolist()


def test_arrays_that_unpack_to_too_much_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, inputs=np.zeros((4000, 8), np.float32), labels=np.zeros(4000, np.int64))
    monkeypatch.setattr("heron.data.arrays_file.MAX_BYTES", 100_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="expected at most 100,000 bytes of examples, found 160,"):
        read_arrays(path)
