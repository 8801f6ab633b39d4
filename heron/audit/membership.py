"""Membership inference by loss: was an example among those that clients trained on (Yeom et al., CSF 2018)?"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from heron.audit.outcome import Outcome
from heron.audit.view import View
from heron.data import fetch, num_examples
from heron.split.criterion import MeanLoss
from heron.tensors import as_tensor


def infer_membership(view: View) -> Outcome:
    """Compare the losses of members with those of test examples, by the trained global model.

    Args:
        view: of the attacker.

    Returns:
        `membership_auc`: probability that a member has a smaller loss than another example; 0.5 is a guess.
    """
    total = num_examples(view.splits.test)
    if not total:
        return Outcome()
    count = min(total, len(view.victims.labels))
    chosen = np.random.default_rng(view.seed).permutation(total)[:count]
    others = fetch(view.splits.test, chosen.astype(np.int64), torch.device(view.settings.device))
    members = _losses(view, view.victims.inputs, view.victims.labels)
    strangers = _losses(view, as_tensor(others.inputs), as_tensor(others.labels))
    return Outcome({"membership_auc": auc(-members, -strangers)})


def auc(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """Compute the area under the ROC curve: probability of a larger score, ties counting one half.

    Args:
        positives: scores, shape (n,).
        negatives: scores, shape (m,).

    Examples:
        >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
        0.875
    """
    below = np.searchsorted(np.sort(negatives), positives, side="left")
    not_above = np.searchsorted(np.sort(negatives), positives, side="right")
    return float((below + not_above).mean() / (2 * len(negatives)))


@torch.no_grad()
def _losses(view: View, inputs: torch.Tensor, labels: torch.Tensor) -> NDArray[np.float64]:
    """Loss of every example by itself, which is what a criterion that gives a mean can do."""
    model, loss = copy.deepcopy(view.split).eval(), MeanLoss(view.criterion)
    each = [loss(model(inputs[index : index + 1]), labels[index : index + 1]) for index in range(len(labels))]
    return torch.stack(each).double().cpu().numpy()
