"""CIFAR-10 from local parquet files, or from the hub.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Files are in the layout of the hub's
`uoft-cs/cifar10`: a column `img` (an encoded image) and a column `label`.
"""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from heron.data.data_set import DataSet, ExampleShape, Tokenizer
from heron.data.folder import data_folder
from heron.data.hub import hub_cache
from heron.data.pixels import Pixels
from heron.data.quiet import quiet_libraries
from heron.data.splits import Splits, check_limits, library_seed, stratified
from heron.errors import DataError, MissingExtraError
from heron.ranges import NonNegativeInt, Probability

_HUB_NAME = "uoft-cs/cifar10"
_NUM_CLASSES = 10
_SIDE = 32
_ROWS_AT_ONCE = 1000
# Over all pixels of the 50,000 training images in [0, 1] (Stevens, Antiga, Viehmann, "Deep Learning with PyTorch",
# 2020, section 7.1). The other common deviations, (0.2023, 0.1994, 0.2010), are means over single images.
_MEAN_C = (0.4914, 0.4822, 0.4465)
_STD_C = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Cifar10(DataSet):
    """CIFAR-10, from local parquet files or the hub, normalised per channel.

    Inputs of shape (3, 32, 32), float32, have mean about 0 and deviation about 1; labels are int64 in [0, 10). If one
    of the files is absent, both splits come from the hub.

    Attributes:
        name: `cifar10`.
        validation: share of the training examples kept for validation, in [0, 1).
        train_limit: training examples used, validation included: a prefix of the shuffled file; 0 for all.
        test_limit: test examples used; 0 for all.
    """

    files: ClassVar[tuple[str, ...]] = ("cifar10/train.parquet", "cifar10/test.parquet")
    source: ClassVar[str] = (
        "The files have the layout of `uoft-cs/cifar10` on the Hugging Face hub: 50,000 and 10,000 rows with columns "
        "`img` (an encoded image, 32 x 32) and `label` (0 to 9)."
    )
    title: ClassVar[str] = "CIFAR-10"
    licence: ClassVar[str] = "its authors state no licence"
    hub_name: ClassVar[str] = _HUB_NAME
    is_on_hub: ClassVar[bool] = True
    pixels: ClassVar[Pixels | None] = Pixels(255, _MEAN_C, _STD_C)

    name: Literal["cifar10"] = "cifar10"
    validation: Probability = 0.1
    train_limit: NonNegativeInt = 0
    test_limit: NonNegativeInt = 0

    @property
    def example(self) -> ExampleShape:
        """Shapes of one example."""
        return ExampleShape((3, _SIDE, _SIDE))

    def load(self, seed: int, tokenizer: Tokenizer | None = None, root: Path | None = None) -> Splits:  # noqa: ARG002
        """Load CIFAR-10; the seed draws the validation split. Arguments as of `DataSet.load`."""
        check_limits(train_limit=self.train_limit, test_limit=self.test_limit)
        folder = data_folder("cifar10", root)
        _require_libraries()
        with quiet_libraries():
            train, test = _tables(folder)
            pixels, labels = _read(train, "train", self.train_limit or None)
            test_pixels, test_labels = _read(test, "test", self.test_limit or None)
        kept, held_out = (
            torch.from_numpy(part) for part in stratified(labels, self.validation, library_seed("validation", seed))
        )
        all_labels = torch.from_numpy(labels)
        return Splits(
            train=TensorDataset(_normalised(pixels[kept]), all_labels[kept]),
            validation=TensorDataset(_normalised(pixels[held_out]), all_labels[held_out]),
            test=TensorDataset(_normalised(test_pixels), torch.from_numpy(test_labels)),
            num_classes=_NUM_CLASSES,
        )


def _require_libraries() -> None:
    try:
        import datasets  # noqa: F401 - a missing library is reported here, before its use below
    except ImportError as error:
        raise MissingExtraError("datasets", "images") from error
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pillow", "images") from error


def _tables(folder: Path) -> tuple[Any, Any]:
    """The training and the test table, not read yet. JPEG and PNG copies differ, so both are local or neither is."""
    paths = {split: folder / f"{split}.parquet" for split in ("train", "test")}
    absent = [path.name for path in paths.values() if not path.is_file()]
    opened = []
    for split, path in paths.items():
        try:
            opened.append(_open_hub(split) if absent else _open_file(path, split))
        except Exception as error:  # the hub's client raises errors of its many dependencies
            found = f"no {' and no '.join(absent)} and no usable hub" if absent else f"an unreadable {path.name}"
            raise DataError(
                f"CIFAR-10: expected parquet files in {folder}, found {found} ({type(error).__name__}); set HERON_DATA "
                f"to a folder that holds cifar10/train.parquet and cifar10/test.parquet"
            ) from error
    return opened[0], opened[1]


def _open_hub(split: str) -> Any:
    import datasets

    with hub_cache(_HUB_NAME):
        return datasets.load_dataset(_HUB_NAME, split=split)


def _open_file(path: Path, split: str) -> Any:
    """Open a parquet file as a stream, without a copy in the library's cache; `load_dataset` would need the network."""
    import datasets

    with tempfile.TemporaryDirectory() as locks:  # the only files written; the default place may be read-only
        return datasets.Dataset.from_parquet(str(path), split=split, cache_dir=locks, streaming=True)


def _read(table: Any, split: str, limit: int | None) -> tuple[Tensor, np.ndarray]:
    """Read the first rows of a table: uint8 pixels of shape (n, 3, 32, 32), and int64 labels of shape (n,)."""
    import datasets

    if not {"img", "label"} <= set(table.column_names):
        raise DataError(
            f"CIFAR-10 {split}: expected columns 'img' and 'label', found {table.column_names}; use the layout of "
            f"{_HUB_NAME}"
        )
    encoded: list[Any] = []
    classes: list[Any] = []
    try:
        for rows in table.cast_column("img", datasets.Image(decode=False)).iter(batch_size=_ROWS_AT_ONCE):
            encoded += rows["img"]
            classes += rows["label"]
            if limit is not None and len(classes) >= limit:
                break
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"CIFAR-10 {split}: expected rows of encoded images and labels, found a file that does not read "
            f"({type(error).__name__}); replace it by a copy of {_HUB_NAME}"
        ) from error
    return _decode(encoded[:limit], split), _check_labels(classes[:limit], split)


def _check_labels(classes: list[Any], split: str) -> np.ndarray:
    for row, label in enumerate(classes):
        if type(label) is not int or not 0 <= label < _NUM_CLASSES:
            raise DataError(
                f"CIFAR-10 {split}: expected integer labels from 0 to {_NUM_CLASSES - 1}, found {label!r} in row "
                f"{row}; use the layout of {_HUB_NAME}"
            )
    return np.array(classes, dtype=np.int64)


def _decode(encoded: list[Any], split: str) -> Tensor:
    import PIL.Image

    if not encoded:
        raise DataError(f"CIFAR-10 {split}: expected images, found none; replace the file by a copy of {_HUB_NAME}")
    pixels = np.empty((len(encoded), _SIDE, _SIDE, 3), dtype=np.uint8)
    for row, image in enumerate(encoded):
        try:
            with PIL.Image.open(io.BytesIO(image["bytes"])) as opened:
                size = opened.size
                if size == (_SIDE, _SIDE):
                    pixels[row] = np.asarray(opened.convert("RGB"))
        except (OSError, ValueError, TypeError, SyntaxError) as error:
            raise DataError(
                f"CIFAR-10 {split}: expected an encoded image, found something else in row {row} "
                f"({type(error).__name__}); replace the file by a copy of {_HUB_NAME}"
            ) from error
        if size != (_SIDE, _SIDE):
            raise DataError(
                f"CIFAR-10 {split}: expected images of {_SIDE}x{_SIDE}, found {size[0]}x{size[1]} in row {row}; "
                f"replace the file by a copy of {_HUB_NAME}"
            )
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _normalised(pixels: Tensor) -> Tensor:
    """Normalise pixels of shape (n, 3, 32, 32): float32 (x / 255 - mean) / deviation per channel."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN_C, _STD_C))
    return pixels.float().div_(255).sub_(mean).div_(deviation)
