"""Encoded images as pixels, for a client without PyTorch."""

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.data.pixels import Pixels
from heron.errors import DataError, MissingExtraError

_FORMATS = ("PNG", "JPEG")
_LARGEST = 255
# Modes of Pillow that a network of this many channels takes; anything else would lose something without a word.
_MODES = {1: ("L", {"1", "L"}), 3: ("RGB", {"1", "L", "P", "RGB"})}


class ImageReader:
    """Reader of images of one size.

    Args:
        shape: of one input, (C, H, W).
        pixels: their scaling.
        source: name of the table in errors.

    Raises:
        DataError: if inputs are no images of one or three channels with pixels up to 255.
        MissingExtraError: if Pillow is not installed.
    """

    def __init__(self, shape: tuple[int, ...], pixels: Pixels | None, source: str) -> None:
        try:
            import PIL.Image
        except ImportError as error:
            raise MissingExtraError("pillow", "tables") from error
        if len(shape) != 3 or shape[0] not in _MODES or pixels is None or pixels.largest != _LARGEST:
            raise DataError(
                f"{source}: expected numbers, because inputs of shape {shape} are no images of 8 bits, found images; "
                f"name columns of pixels pixel0 and so on"
            )
        self._open: Any = PIL.Image.open
        self._refused = (
            OSError,
            ValueError,
            TypeError,
            SyntaxError,
            EOFError,
            PIL.Image.DecompressionBombError,
            Warning,
        )
        self._mode, self._modes = _MODES[shape[0]]
        self._size = (shape[2], shape[1])
        self._source = source

    def read(self, content: bytes | None, row: int) -> NDArray[np.uint8]:
        """Decode one image.

        Args:
            content: of a PNG or JPEG file.
            row: its number, for errors.

        Returns:
            Pixels, shape (C, H, W).

        Raises:
            DataError: if it is no image, or of another size or kind.
        """
        if content is None:
            raise DataError(f"{self._source}: expected an encoded image, found none in row {row}; complete it")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with self._open(io.BytesIO(content), formats=_FORMATS) as opened:
                    found = opened.size, opened.mode
                    # Nothing is decoded before its size is known.
                    if found[0] == self._size and found[1] in self._modes:
                        pixels = np.asarray(opened.convert(self._mode))
                        return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
        except self._refused as error:
            raise DataError(
                f"{self._source}: expected a PNG or JPEG image, found something else in row {row} "
                f"({type(error).__name__}); replace it"
            ) from error
        raise DataError(
            f"{self._source}: expected an image of {self._size[0]}x{self._size[1]} in mode {self._mode}, found "
            f"{found[0][0]}x{found[0][1]} in mode {found[1]} in row {row}; convert it"
        )
