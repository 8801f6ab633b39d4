"""The linear surrogate that a gradient at a boundary makes of everything above it.

With delta = d l / d r at the clean activations r = f(x; v), the surrogate L(v) = <delta, f(x; v)> has the gradient of
l(v) at the clean point, and probes of it need f alone (HO-SFL, arXiv 2603.14773;
docs/methods.md, "Order boundary and surrogate").

`B` examples.
"""

import torch
from torch import Tensor

from heron.arrays import arithmetic_dtype


def surrogate_loss(delta: Tensor, outputs: Tensor) -> Tensor:
    """<delta, outputs>, summed over examples in float64: differences of two such sums are what probes measure.

    Args:
        delta: gradient of a mean loss at the boundary, shape (B, ...).
        outputs: activations there, shape (B, ...).

    Returns:
        Shape (), float64. No tensor as large as the arguments is made, unless they are narrower than float32.
    """
    size, dtype = len(delta), arithmetic_dtype(outputs)
    rows = torch.bmm(delta.reshape(size, 1, -1).to(dtype), outputs.reshape(size, -1, 1).to(dtype))
    return rows.sum(dtype=torch.float64)
