"""CIFAR-10 from local parquet files, or from the hub.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Files are in the layout of the hub's
`uoft-cs/cifar10`: a column `img` (an encoded image) and a column `label`.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heron.data.splits import Splits, library_seed, stratified, take
from heron.errors import DataError, MissingExtraError

_HUB_NAME = "uoft-cs/cifar10"
_NUM_CLASSES = 10
_SHAPE_HWC = (32, 32, 3)
# Mean and standard deviation of the training images' channels, in [0, 1].
_MEAN_C = (0.4914, 0.4822, 0.4465)
_STD_C = (0.2470, 0.2435, 0.2616)


def load_cifar10(
    *,
    validation: float,
    seed: int,
    train_limit: int | None = None,
    test_limit: int | None = None,
    root: Path | None = None,
) -> Splits:
    """CIFAR-10, normalised per channel.

    Args:
        validation: share of the training examples that is kept for validation, in [0, 1).
        seed: seed of the run; draws the validation split.
        train_limit: training examples used, validation included: a prefix of the shuffled file; None for all.
        test_limit: test examples used; None for all.
        root: folder that holds `cifar10/train.parquet` and `cifar10/test.parquet`; by default the environment
            variable `HERON_DATA`, else `../shared/data`. Without the files the hub is asked.

    Returns:
        Inputs of shape (3, 32, 32), float32; labels int64 in [0, 10).

    Raises:
        DataError: if the data cannot be had, or is not CIFAR-10.
        MissingExtraError: if the extra `images` is not installed.
    """
    folder = (root or Path(os.environ.get("HERON_DATA", "../shared/data"))) / "cifar10"
    inputs, labels = _tensors(folder, "train", train_limit)
    test_inputs, test_labels = _tensors(folder, "test", test_limit)
    kept, held_out = stratified(labels.numpy(), validation, library_seed("validation", seed))
    return Splits(
        train=take(inputs, labels, kept),
        validation=take(inputs, labels, held_out),
        test=take(test_inputs, test_labels, np.arange(len(test_labels))),
        num_classes=_NUM_CLASSES,
    )


def _tensors(folder: Path, split: str, limit: int | None) -> tuple[Tensor, Tensor]:
    table = _table(folder, split)
    if not {"img", "label"} <= set(table.column_names):
        raise DataError(f"CIFAR-10 {split}: expected columns 'img' and 'label', found {table.column_names}")
    if limit is not None:
        table = table.select(range(min(limit, len(table))))
    images = [np.asarray(image.convert("RGB")) for image in table["img"]]
    labels = torch.tensor(table["label"])
    odd = next((image.shape for image in images if image.shape != _SHAPE_HWC), None)
    if odd is not None or not images:
        raise DataError(f"CIFAR-10 {split}: expected 32x32 images, found {odd or 'no image at all'}")
    if labels.dtype != torch.int64 or not bool(((labels >= 0) & (labels < _NUM_CLASSES)).all()):
        raise DataError(f"CIFAR-10 {split}: expected labels from 0 to 9, found others")
    inputs = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)
    inputs.sub_(torch.tensor(_MEAN_C).view(3, 1, 1)).div_(torch.tensor(_STD_C).view(3, 1, 1))
    return inputs.contiguous(), labels


def _table(folder: Path, split: str) -> Any:
    """A split as a `datasets.Dataset`, images not decoded yet."""
    try:
        import datasets
        import PIL.Image  # noqa: F401 - `datasets` decodes with it
    except ImportError as error:
        raise MissingExtraError("datasets", "images") from error
    datasets.disable_progress_bars()
    path = folder / f"{split}.parquet"
    try:
        if path.exists():
            features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
            table = datasets.Dataset.from_parquet(str(path))
            return table.cast(features) if set(table.column_names) == {"img", "label"} else table
        return datasets.load_dataset(_HUB_NAME, split=split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"CIFAR-10 {split}: expected {path} or a reachable hub, found neither usable ({type(error).__name__}); set "
            f"HERON_DATA to a folder with cifar10/train.parquet and cifar10/test.parquet"
        ) from error
