"""Matrices in 8 bits: symmetric, rounded to nearest, with one scale per output feature.

With s = max |w| / 127 over the weights of a feature, the code is q = round(w / s), half to even, in [-127, 127], and
represents q s. So |w - q s| <= s / 2 in real numbers. In float32 the quotient, at most 127, is off by up to
127 x 2**-24, and so is the product q s in units of s. Hence |w - q s| <= s (1/2 + 2**-16) for any computed code.

`O` output features, `I` input features.
"""

import torch
from torch import Tensor

LARGEST_CODE = 127


@torch.no_grad()
def rounded_to_int8(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and scales of a matrix, rounded to nearest.

    Args:
        weight_OI: float32, I >= 1.

    Returns:
        Codes, shape (O, I), int8, with the weight's strides; and scales, shape (O,), float32, > 0, not finite if a
        weight of the feature is not. A feature of zeros has scale 1 and codes of zero. So has a feature whose scale
        would be below the smallest normal number, about 1e-38.

    Examples:
        >>> codes_OI, scale_O = rounded_to_int8(torch.tensor([[254.0, -3.0, 1.0], [0.0, 0.0, 0.0]]))
        >>> codes_OI.tolist(), scale_O.tolist()
        ([[127, -2, 0], [0, 0, 0]], [2.0, 1.0])
    """
    scale_O = weight_OI.abs().amax(dim=1) / LARGEST_CODE
    # `<` is false for NaN, which the caller has to refuse.
    scale_O = torch.where(scale_O < torch.finfo(scale_O.dtype).tiny, 1.0, scale_O)
    return (weight_OI / scale_O[:, None]).round_().to(torch.int8), scale_O
