"""Matrices in 8 bits: symmetric, rounded to nearest, a scale for each feature out.

With s = max |w| / 127 over the weights of a feature, the code is q = round(w / s), half to even, in [-127, 127], and
stands for q s. So |w - q s| <= s / 2 in real numbers; in float32 the quotient, at most 127, is off by up to
127 x 2**-24 and so is the product q s, in units of s: |w - q s| <= s (1/2 + 2**-16) of any computed code.

`O` features out, `I` in.
"""

import torch
from torch import Tensor

LARGEST_CODE = 127


@torch.no_grad()
def rounded_to_int8(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and scales of a matrix.

    Args:
        weight_OI: float32, I >= 1.

    Returns:
        Codes, shape (O, I), int8, strides as the weight's; scales, shape (O,), float32, > 0, and not finite where a
        weight of the feature is not. A feature of zeros has the scale 1, and so has one whose scale would be below the
        smallest normal number, some 1e-38: its codes are zeros.

    Examples:
        >>> codes_OI, scale_O = rounded_to_int8(torch.tensor([[254.0, -3.0, 1.0], [0.0, 0.0, 0.0]]))
        >>> codes_OI.tolist(), scale_O.tolist()
        ([[127, -2, 0], [0, 0, 0]], [2.0, 1.0])
    """
    scale_O = weight_OI.abs().amax(dim=1) / LARGEST_CODE
    # `<` is false for NaN, which is the caller's to refuse.
    scale_O = torch.where(scale_O < torch.finfo(scale_O.dtype).tiny, 1.0, scale_O)
    return (weight_OI / scale_O[:, None]).round_().to(torch.int8), scale_O
