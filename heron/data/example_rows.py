"""Examples of a table, checked row by row and kept in few bytes.

A table has a column `label` or `labels`, and for the inputs `inputs`, or `input0`, `input1` and so on, or the same with
`pixel`, or `image`. Everything but pixels is as in training; pixels are whole numbers, which are scaled batch by batch.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heron.arrays import numpy_dtype
from heron.data.arrays_file import MAX_BYTES, ArrayExamples
from heron.data.batch import IGNORED
from heron.data.pixels import Pixels
from heron.errors import DataError

LABELS = ("labels", "label")
IMAGES = ("image", "img")
_NUMBERED = re.compile(r"(input|pixel)([0-9]{1,9})")


@dataclass(frozen=True)
class ExampleForm:
    """Examples that a client takes.

    Attributes:
        inputs: shape of one input.
        dtype: name of the inputs' element type.
        labels: shape of one label; () for a class.
        labels_dtype: name of the labels' element type.
        is_text: whether inputs are tokens, in sequences of any length.
        pixels: scaling of whole-number pixels; None where it is not known.
    """

    inputs: tuple[int, ...]
    dtype: str
    labels: tuple[int, ...]
    labels_dtype: str
    is_text: bool = False
    pixels: Pixels | None = None

    def to_json(self) -> str:
        """Write the form for another process of this package."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ExampleForm":
        """Read a result of `to_json`."""
        fields = json.loads(text)
        pixels = fields.pop("pixels")
        if pixels is not None:
            pixels = Pixels(pixels["largest"], tuple(pixels["means"]), tuple(pixels["deviations"]))
        inputs, labels = tuple(fields.pop("inputs")), tuple(fields.pop("labels"))
        return cls(inputs=inputs, labels=labels, **fields, pixels=pixels)

    @property
    def num_inputs(self) -> int:
        """Numbers of one input."""
        return int(np.prod(self.inputs, dtype=np.int64))


@dataclass(frozen=True)
class Layout:
    """Columns of a table that are read.

    Attributes:
        inputs: their names in order; one where a cell holds a whole input.
        labels: name of the column of labels.
        kind: whether inputs are numbers as in training, pixels, or encoded images.
    """

    inputs: tuple[str, ...]
    labels: str
    kind: Literal["numbers", "pixels", "image"]


def layout_of(header: Sequence[str], form: ExampleForm, source: str, *, images: bool) -> Layout:
    """Find the columns of a table; others are ignored.

    Args:
        header: names of all its columns.
        form: the client's.
        source: name of the table in errors.
        images: whether the table can hold encoded images.

    Raises:
        DataError: if there is not one column of labels and one form of inputs, or pixels cannot be scaled.
    """
    labels = [name for name in header if name in LABELS]
    forms: list[tuple[str, ...]] = [(name,) for name in header if name == "inputs" or (images and name in IMAGES)]
    forms += [numbered for prefix in ("input", "pixel") if (numbered := _numbered(header, prefix))]
    if len(labels) != 1 or len(forms) != 1:
        wanted = "inputs, input0 ..., pixel0 ..." + (" or image" if images else "")
        raise DataError(
            f"{source}: expected one column label, and one of {wanted}, found {', '.join(header)[:200] or 'none'}; "
            f"name the columns so"
        )
    (inputs,) = forms
    kind: Literal["numbers", "pixels", "image"] = "numbers"
    if inputs[0] in IMAGES:
        kind = "image"
    elif inputs[0].startswith("pixel"):
        kind = "pixels"
    if kind != "numbers" and form.pixels is None:
        raise DataError(
            f"{source}: expected inputs as numbers, because the bundle does not say how pixels are scaled, found "
            f"{inputs[0]}; scale them as in training, and name the columns input0 and so on"
        )
    if len(inputs) > 1 and (form.is_text or len(inputs) != form.num_inputs):
        expected = "one column inputs" if form.is_text else f"{form.num_inputs} columns"
        raise DataError(f"{source}: expected {expected} for the inputs, found {len(inputs)}; give each example whole")
    return Layout(inputs, labels[0], kind)


def _numbered(header: Sequence[str], prefix: str) -> tuple[str, ...]:
    """Columns of a prefix and a number, in the order of the numbers, which may begin with 0 or 1 and leave none out."""
    found = {
        int(match[2]): name
        for name in header
        if (match := _NUMBERED.fullmatch(name)) is not None and match[1] == prefix
    }
    first = min(found, default=0)
    complete = first <= 1 and len(found) == sum(name.startswith(prefix) and name != "inputs" for name in header)
    numbers = range(first, first + len(found))
    return tuple(found[number] for number in numbers) if complete and found.keys() == {*numbers} else ()


class ExampleRows:
    """Rows of a table, one after the other.

    Args:
        form: the client's.
        layout: of the table.
        source: name of the table in errors.
    """

    def __init__(self, form: ExampleForm, layout: Layout, source: str) -> None:
        self._form = form
        self._source = source
        self._pixels = form.pixels if layout.kind != "numbers" else None
        largest = 0 if self._pixels is None else self._pixels.largest
        whole = np.dtype(np.uint8 if largest < 256 else np.int32)
        self._dtype = numpy_dtype(form.dtype) if self._pixels is None else whole
        self._labels_dtype = numpy_dtype(form.labels_dtype)
        self._inputs, self._labels = bytearray(), bytearray()
        self._lengths: list[int] = []
        self._longest = 0

    def add(self, row: int, inputs: Any, labels: Any) -> None:
        """Take one example.

        Args:
            row: its number, for errors.
            inputs: all numbers of one input; as texts, if they come from a text file.
            labels: those of its label.

        Raises:
            DataError: if they are not as many as they should be, no numbers, or not in range; or if examples become
                too large.
        """
        form = self._form
        numbers = self._checked(inputs, self._dtype, "inputs", row)
        targets = self._checked(labels, self._labels_dtype, "labels", row)
        expected = [len(numbers)] * 2 if form.is_text else [form.num_inputs, int(np.prod(form.labels, dtype=np.int64))]
        if [len(numbers), len(targets)] != expected or not len(numbers):
            what = (
                "as many labels as tokens, at least one"
                if form.is_text
                else f"{expected[0]} inputs, {expected[1]} label"
            )
            raise DataError(
                f"{self._source}: expected {what}, found {len(numbers)} and {len(targets)} in row {row}; correct it"
            )
        self._inputs += numbers.tobytes()
        self._labels += targets.tobytes()
        self._lengths.append(len(numbers))
        self._longest = max(self._longest, len(numbers))
        padded = len(self._lengths) * self._longest * (self._dtype.itemsize + self._labels_dtype.itemsize)
        if max(len(self._inputs) + len(self._labels), padded if form.is_text else 0) > MAX_BYTES:
            raise DataError(
                f"{self._source}: expected at most {MAX_BYTES:,} bytes of examples, found more; take a part"
            )

    def examples(self) -> ArrayExamples:
        """Return all examples.

        Raises:
            DataError: if there is none.
        """
        form, count = self._form, len(self._lengths)
        if not count:
            raise DataError(f"{self._source}: expected examples, found no row; replace it by a full copy")
        inputs, labels = np.frombuffer(self._inputs, self._dtype), np.frombuffer(self._labels, self._labels_dtype)
        if not form.is_text:
            return ArrayExamples(
                inputs.reshape(count, *form.inputs), labels.reshape(count, *form.labels), pixels=self._pixels
            )
        inside = np.arange(max(self._lengths)) < np.array(self._lengths)[:, None]
        padded = np.zeros(inside.shape, self._dtype), np.full(inside.shape, IGNORED, self._labels_dtype)
        for array, values in zip(padded, (inputs, labels), strict=True):
            array[inside] = values
        return ArrayExamples(*padded)

    def _checked(self, values: Any, dtype: np.dtype[Any], what: str, row: int) -> NDArray[Any]:
        """Numbers of a row in their type, flat."""
        largest = None if self._pixels is None or what == "labels" else self._pixels.largest
        try:
            return _numbers(values, dtype, largest)
        except (ValueError, TypeError, OverflowError) as error:
            kind = "whole numbers" if dtype.kind in "iu" else "finite numbers"
            if largest is not None:
                kind += f" from 0 to {largest}"
            raise DataError(
                f"{self._source}: expected {what} as {kind}, found something else in row {row}; correct it"
            ) from error


def _numbers(values: Any, dtype: np.dtype[Any], largest: int | None) -> NDArray[Any]:
    """Convert numbers, or texts of them, and lose nothing but rounding; ValueError and the like where that fails."""
    is_whole = dtype.kind in "iu"
    if isinstance(values, list) and values and isinstance(values[0], str):
        values = [(int if is_whole else float)(value) for value in values]
    found = np.asarray(values).reshape(-1)
    if not len(found):
        return np.empty(0, dtype)
    if found.dtype.kind not in ("iu" if is_whole else "iuf"):
        raise ValueError(found.dtype)
    if is_whole:
        limits = np.iinfo(dtype)
        if found.min() < limits.min or found.max() > (limits.max if largest is None else largest):
            raise ValueError(largest)
    with np.errstate(over="ignore"):
        numbers: NDArray[Any] = found.astype(dtype)
    if not is_whole and not np.isfinite(numbers).all():
        raise ValueError(dtype)
    return numbers
