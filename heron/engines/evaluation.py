"""Loss and accuracy of the global model on a data set."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from heron.algorithms import Criterion
from heron.data import fetch, num_examples


@dataclass(frozen=True)
class Evaluation:
    """Result on one data set.

    Attributes:
        loss: mean loss per example.
        accuracy: share of examples whose largest output is their label, in [0, 1].
    """

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Dataset[tuple[Tensor, ...]],
    criterion: Criterion,
    *,
    device: torch.device,
    batch_size: int = 500,
) -> Evaluation | None:
    """Evaluate a classifier in evaluation mode; the model is left in the mode it was in.

    Args:
        model: maps inputs to outputs of shape (B, C).
        dataset: examples (input, label).
        criterion: mean loss over a batch.
        device: where to compute.
        batch_size: examples per forward pass.

    Returns:
        The evaluation, or None for an empty data set.
    """
    total = num_examples(dataset)
    if total == 0:
        return None
    was_training = model.training
    model.eval()
    losses, correct = [], []
    try:
        for start in range(0, total, batch_size):
            batch = fetch(dataset, np.arange(start, min(start + batch_size, total)), device)
            outputs_BC = model(batch.inputs)
            losses.append(criterion(outputs_BC, batch.labels) * len(batch))
            correct.append((outputs_BC.argmax(dim=-1) == batch.labels).sum())
    finally:
        model.train(was_training)
    return Evaluation(float(torch.stack(losses).sum()) / total, int(torch.stack(correct).sum()) / total)
