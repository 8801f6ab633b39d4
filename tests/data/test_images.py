"""Encoded images; tests/data/test_parquet_file.py has what is refused of a table of them."""

import io

import numpy as np
import PIL.Image
import pytest

from heron.data.images import ImageReader
from heron.data.pixels import Pixels
from heron.errors import DataError

GREY = np.arange(4, dtype=np.uint8).reshape(2, 2) * 60


def encoded(image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def test_grey_images() -> None:
    image = PIL.Image.fromarray(GREY)
    content = encoded(image, "PNG")
    assert ImageReader((1, 2, 2), Pixels(255), "mine").read(content, 1).tolist() == [GREY.tolist()]
    assert ImageReader((3, 2, 2), Pixels(255), "mine").read(content, 1).tolist() == [GREY.tolist()] * 3
    jpeg = ImageReader((1, 2, 2), Pixels(255), "mine").read(encoded(image, "JPEG"), 1)
    assert np.abs(jpeg.astype(int) - GREY).max() < 40


def test_a_colour_image_is_not_made_grey() -> None:
    content = encoded(PIL.Image.fromarray(np.zeros((2, 2, 3), np.uint8)), "PNG")
    with pytest.raises(DataError, match="in mode L, found 2x2 in mode RGB in row 7"):
        ImageReader((1, 2, 2), Pixels(255), "mine").read(content, 7)


@pytest.mark.parametrize(("shape", "pixels"), [((2, 2), Pixels(255)), ((2, 2, 2), Pixels(255)), ((3, 2, 2), None)])
def test_inputs_that_are_no_images(shape: tuple[int, ...], pixels: Pixels | None) -> None:
    with pytest.raises(DataError, match="no images of 8 bits"):
        ImageReader(shape, pixels, "mine")
