"""Columns of a table of examples, and its rows."""

import numpy as np
import pytest

import heron.data.example_rows
from heron.data.example_rows import ExampleForm, ExampleRows, layout_of
from heron.errors import DataError
from tests.data.tables import COLOUR, NUMBERS, SMALL_IMAGES, TEXTS


@pytest.mark.parametrize(
    ("header", "inputs", "kind"),
    [
        ("inputs label", ("inputs",), "numbers"),
        ("id inputs labels", ("inputs",), "numbers"),
        ("input3 input2 label input1 input0", ("input0", "input1", "input2", "input3"), "numbers"),
        ("label pixel1 pixel2 pixel3 pixel4", ("pixel1", "pixel2", "pixel3", "pixel4"), "pixels"),
        ("img label", ("img",), "image"),
        ("label image", ("image",), "image"),
    ],
)
def test_columns_are_found(header: str, inputs: tuple[str, ...], kind: str) -> None:
    form = SMALL_IMAGES if kind != "numbers" else NUMBERS
    layout = layout_of(header.split(), form, "mine", images=True)
    assert (layout.inputs, layout.kind) == (inputs, kind)
    assert layout.labels in {"label", "labels"}


@pytest.mark.parametrize(
    ("header", "form", "message"),
    [
        ("", NUMBERS, "found none"),
        ("inputs", NUMBERS, "expected one column label, and one of inputs, .*, found inputs;"),
        ("inputs label labels", NUMBERS, "expected one column label"),
        ("inputs inputs label", NUMBERS, "expected one column label"),
        ("inputs input0 label", NUMBERS, "and one of inputs"),
        ("input0 input1 input3 label", NUMBERS, "and one of inputs"),
        ("input2 input3 input4 input5 label", NUMBERS, "and one of inputs"),
        ("input0 input00 input1 input2 label", NUMBERS, "and one of inputs"),
        ("input0 input1 input2 inputx label", NUMBERS, "and one of inputs"),
        ("pixel0 pixel1 input0 input1 label", SMALL_IMAGES, "and one of inputs"),
        ("input0 input1 label", NUMBERS, "expected 4 columns for the inputs, found 2"),
        ("input0 input1 label", TEXTS, "expected one column inputs for the inputs, found 2"),
        ("pixel0 pixel1 pixel2 pixel3 label", NUMBERS, "does not say how pixels are scaled, found pixel0"),
        ("image label", NUMBERS, "does not say how pixels are scaled, found image"),
    ],
)
def test_other_columns_are_refused_in_one_line(header: str, form: ExampleForm, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        layout_of(header.split(), form, "mine", images=True)
    assert "\n" not in str(caught.value)


def rows_of(form: ExampleForm, header: str = "inputs label") -> ExampleRows:
    return ExampleRows(form, layout_of(header.split(), form, "mine", images=True), "mine")


def test_numbers_are_kept_as_they_are() -> None:
    rows = rows_of(NUMBERS)
    rows.add(2, ["1", "2.5", "-3e2", "0"], ["7"])
    rows.add(3, np.array([[1, 2], [3, 4]]), np.int8(1))
    examples = rows.examples()
    np.testing.assert_array_equal(examples.inputs, np.array([[1, 2.5, -300, 0], [1, 2, 3, 4]], np.float32))
    assert (examples.inputs.dtype, examples.labels.dtype) == (np.float32, np.int64)
    assert examples.labels.tolist() == [7, 1]


@pytest.mark.parametrize(("largest", "dtype"), [(COLOUR, np.uint8), (SMALL_IMAGES, np.uint8)])
def test_pixels_are_kept_in_bytes_and_scaled_in_batches(largest: ExampleForm, dtype: type) -> None:
    rows = rows_of(largest, "image label")
    pixels = np.arange(largest.num_inputs).reshape(largest.inputs)
    rows.add(1, pixels, np.array(3))
    examples = rows.examples()
    assert examples.inputs.dtype == dtype
    assert largest.pixels is not None
    batch = examples.batch(np.array([0]), 0)
    np.testing.assert_array_equal(batch.inputs, largest.pixels.scaled(pixels[None]))


def test_texts_are_padded_on_the_right() -> None:
    rows = rows_of(TEXTS)
    rows.add(2, ["5", "6", "7"], ["-100", "7", "8"])
    rows.add(3, np.array([9]), np.array([4]))
    examples = rows.examples()
    assert examples.inputs.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert examples.labels.tolist() == [[-100, 7, 8], [4, -100, -100]]


@pytest.mark.parametrize(
    ("form", "inputs", "labels", "message"),
    [
        (NUMBERS, ["1", "2", "3"], ["0"], "expected 4 inputs, 1 label, found 3 and 1 in row 5"),
        (NUMBERS, ["1", "2", "3", "4"], [], "found 4 and 0 in row 5"),
        (NUMBERS, ["1", "2", "3", "4"], ["0", "1"], "found 4 and 2 in row 5"),
        (NUMBERS, ["1", "2", "3", "x"], ["0"], "inputs as finite numbers, found something else in row 5"),
        (NUMBERS, ["1", "2", "3", "nan"], ["0"], "inputs as finite numbers"),
        (NUMBERS, ["1", "2", "3", "1e39"], ["0"], "inputs as finite numbers"),
        (NUMBERS, ["1", "2", "3", "4"], ["0.0"], "labels as whole numbers"),
        (NUMBERS, ["1", "2", "3", "4"], ["9" * 30], "labels as whole numbers"),
        (NUMBERS, np.array(["a", None, 1, 2], object), np.array(0), "inputs as finite numbers"),
        (NUMBERS, np.array([1, 2, 3, 4]), np.array(0.5), "labels as whole numbers"),
        (SMALL_IMAGES, ["1", "2", "3", "17"], ["0"], "inputs as whole numbers from 0 to 16"),
        (SMALL_IMAGES, ["1", "2", "3", "-1"], ["0"], "inputs as whole numbers from 0 to 16"),
        (SMALL_IMAGES, ["1", "2", "3", "1.5"], ["0"], "inputs as whole numbers from 0 to 16"),
        (TEXTS, [], [], "as many labels as tokens, at least one, found 0 and 0"),
        (TEXTS, ["1", "2"], ["2"], "as many labels as tokens, at least one, found 2 and 1"),
        (TEXTS, ["1", "2.0"], ["2", "3"], "inputs as whole numbers"),
    ],
)
def test_other_rows_are_refused_in_one_line(form: ExampleForm, inputs, labels, message: str) -> None:
    rows = rows_of(form, "pixel0 pixel1 pixel2 pixel3 label" if form is SMALL_IMAGES else "inputs label")
    with pytest.raises(DataError, match=message) as caught:
        rows.add(5, inputs, labels)
    assert "\n" not in str(caught.value)


def test_examples_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(heron.data.example_rows, "MAX_BYTES", 60)
    rows = rows_of(NUMBERS)
    for row in range(2):
        rows.add(row, [1, 2, 3, 4], [0])
    with pytest.raises(DataError, match="at most 60 bytes of examples"):
        rows.add(2, [1, 2, 3, 4], [0])
    texts = rows_of(TEXTS)
    texts.add(0, [1], [1])
    with pytest.raises(DataError, match="at most 60 bytes of examples"):  # as they are padded
        texts.add(1, [1, 2], [1, 2])


def test_no_row_at_all() -> None:
    with pytest.raises(DataError, match="expected examples, found no row"):
        rows_of(NUMBERS).examples()
