"""The number of classes that a network's outputs tell apart, for labels that are to be changed."""

import torch

from heron.data import Batch
from heron.errors import DataError
from heron.split import SplitModel
from heron.split.untouched import untouched
from heron.tensors import as_tensor


def label_classes(split: SplitModel, example: Batch, device: torch.device) -> int:
    """Find out the number of classes, C; labels in [0, C) are changed into one another.

    Args:
        split: the cut network; restored after the run.
        example: a few examples.
        device: where the network is.

    Raises:
        DataError: if examples have no single class for a label.
    """
    inputs, labels = as_tensor(example.inputs, device), as_tensor(example.labels, device)
    with untouched(split, device):
        split.eval()
        outputs = split.server(split.client(inputs))
    if labels.dim() != 1 or labels.dtype.is_floating_point or outputs.dim() != 2 or outputs.shape[1] < 2:
        raise DataError(
            f"expected one class of each example with privacy.label_epsilon, found labels of shape "
            f"{tuple(labels.shape)} ({labels.dtype}) for outputs of shape {tuple(outputs.shape)}: randomised response "
            f"changes classes into one another; set it to 0"
        )
    if not bool(((labels >= 0) & (labels < outputs.shape[1])).all()):
        raise DataError(
            f"expected labels from 0 to {outputs.shape[1] - 1} with privacy.label_epsilon, found others; check the data"
        )
    return int(outputs.shape[1])
