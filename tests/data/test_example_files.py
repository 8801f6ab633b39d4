"""Files of examples, by the ending of their name."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from heron.data.example_files import load_examples
from heron.errors import DataError
from tests.data.tables import NUMBERS


def test_the_ending_says_what_a_file_is(tmp_path) -> None:
    inputs = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(tmp_path / "a.npz", inputs=inputs, labels=np.array([1, 0]))
    (tmp_path / "a.csv").write_text("inputs,label\n0 1 2 3,1\n4 5 6 7,0\n", encoding="utf-8")
    parquet.write_table(pa.table({"inputs": inputs.tolist(), "label": [1, 0]}), tmp_path / "a.parquet")
    for suffix in (".npz", ".csv", ".parquet"):
        examples = load_examples(tmp_path / f"a{suffix}", NUMBERS)
        np.testing.assert_array_equal(examples.inputs, inputs)
        assert examples.labels.tolist() == [1, 0]


@pytest.mark.parametrize("name", ["mine", "mine.pt", "mine.csv.gz"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"expected a file named \.npz, \.csv, \.parquet, found 'mine"):
        load_examples(Path(name), NUMBERS)
