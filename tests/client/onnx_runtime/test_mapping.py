"""Files as arrays whose pages come and go."""

import mmap
import resource
from pathlib import Path

import numpy as np
import pytest

from heron.arrays import numpy_dtype
from heron.client.onnx_runtime.mapping import forget, map_file, rows_of

PAGES = 4096
"""Of the file; more than the system reads ahead at once."""


def resident_file_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))


@pytest.fixture
def path(tmp_path) -> Path:
    np.arange(PAGES * mmap.PAGESIZE, dtype=np.uint32).astype(np.uint8).tofile(tmp_path / "file")
    return tmp_path / "file"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the resident memory of this process")
@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32"])
def test_forgotten_pages_leave_memory_and_keep_their_values(path, dtype: str) -> None:
    """Views of views, of another element type, from the middle of a page to the middle of another."""
    mapped = map_file(path)
    before = mapped.copy()
    start = 8 + mmap.PAGESIZE // 2
    part = mapped[start : start + PAGES // 2 * mmap.PAGESIZE].view(numpy_dtype(dtype)).reshape(64, -1)[1:, :]
    np.testing.assert_array_equal(mapped, before)
    held = resident_file_bytes()
    forget(part)
    assert held - resident_file_bytes() > 0.9 * part.nbytes
    np.testing.assert_array_equal(mapped, before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_are_copied_and_little_of_the_table_is_in_memory(path, dtype: str) -> None:
    table = map_file(path).view(numpy_dtype(dtype)).reshape(-1, 32)
    values = np.array(table)
    forget(table)
    held = resident_file_bytes()
    draw = np.random.default_rng(0)
    positions = np.sort(draw.integers(len(table), size=1_000))
    rows = rows_of(table, positions)
    assert resident_file_bytes() - held < table.nbytes / 4
    for few in (positions, positions[:0], np.array([0]), np.array([len(table) - 1] * 2), np.arange(len(table))):
        assert rows_of(table, few).tobytes() == rows_of(values, few).tobytes() == values[few].tobytes()
    assert rows.flags.owndata


def test_other_arrays_are_left_alone() -> None:
    array = np.arange(10_000, dtype=np.float32)
    forget(array[10:])
    forget(array.reshape(100, 100))
    forget(np.frombuffer(b"bytes that are no file", np.uint8))
    np.testing.assert_array_equal(array, np.arange(10_000, dtype=np.float32))


def test_a_mapped_file_cannot_be_written(path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        map_file(path)[0] = 1


def test_a_mapping_outlives_its_name_and_ends_with_its_array(path) -> None:
    """No descriptor is left open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for _ in range(min(limit, 4096) + 10):
        mapped = map_file(path)
    path.unlink()
    assert mapped[5] == 5
