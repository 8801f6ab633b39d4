"""Distance correlation of inputs and smashed data: how much of one is in the other, whatever the attack.

0 for independent data, 1 for a similarity transform. NoPeek (Vepakomma et al., ICDMW 2020) minimises it.
"""

import torch
from torch import Tensor

from heron.audit.outcome import Outcome
from heron.audit.view import View

_MOST = 512  # examples: the work grows as their square


def depend(view: View) -> Outcome:
    """Compute `distance_correlation` of the victims' inputs and smashed data."""
    smashed, inputs = view.victims.smashed, view.victims.inputs
    if smashed is None or not inputs.is_floating_point():
        return Outcome()
    return Outcome({"distance_correlation": distance_correlation(inputs[:_MOST], smashed[:_MOST])})


def distance_correlation(first: Tensor, second: Tensor) -> float:
    """Compute the bias-corrected squared distance correlation (Szekely and Rizzo, Ann. Statist. 42, 2014).

    The plain one tends to 1 for few examples of many values, whether or not they have anything in common.

    Args:
        first: shape (n, ...), n >= 4.
        second: shape (n, ...).

    Returns:
        1 for a similarity transform; about 0, perhaps below, for independent data.
    """
    own, other = (_centred(torch.cdist(part.flatten(1).double(), part.flatten(1).double())) for part in (first, second))
    spread = float((own * own).sum() * (other * other).sum()) ** 0.5
    return float((own * other).sum()) / spread if spread > 0 else 0.0


def _centred(distances: Tensor) -> Tensor:
    """Centre distances without bias: each row and column, but for the diagonal, sums to zero."""
    count = len(distances)
    rows = distances.sum(1, keepdim=True) / (count - 2)
    centred = distances - rows - rows.T + distances.sum() / ((count - 1) * (count - 2))
    return centred.fill_diagonal_(0.0)
