"""The number of classes that a network's outputs tell apart, for labels that are to be changed."""

from collections.abc import Sequence

import numpy as np
import torch

from heron.data import Batch, Examples, labels_of
from heron.errors import DataError
from heron.split import SplitModel
from heron.split.untouched import untouched
from heron.tensors import as_tensor
from heron.wire.terms import Terms


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


def check_shown_labels(terms: Terms, dataset: Examples, partition: Sequence[np.ndarray]) -> None:
    """Refuse clients' labels that cannot be shown in place of one another, before anything starts.

    Args:
        terms: of the run; without `privacy.label_epsilon` labels are shown as they are, and none is read.
        dataset: training examples.
        partition: each client's positions in it.

    Raises:
        DataError: naming the first label.
    """
    if terms.settings.privacy.label_budget is None:
        return
    labels_N, num_classes = labels_of(dataset)[np.concatenate(partition)], terms.upload.num_classes
    are_classes = labels_N.ndim == 1 and np.issubdtype(labels_N.dtype, np.integer)
    if are_classes and ((labels_N >= 0) & (labels_N < num_classes)).all():
        return
    found = f"{labels_N.dtype} of shape {labels_N.shape}"
    if are_classes:
        wrong = labels_N[(labels_N < 0) | (labels_N >= num_classes)]
        found = f"{wrong[0]} and {len(wrong)} such labels in all"
    raise DataError(
        f"expected integer labels from 0 to {num_classes - 1} with privacy.label_epsilon, found {found}, which cannot "
        f"be shown in place of one another; leave these examples out"
    )
