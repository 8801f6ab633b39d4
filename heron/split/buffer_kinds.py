"""What becomes of a buffer between rounds: its mean is taken, or nobody changes it (docs/methods.md, "Buffers").

`statistic`: a training pass changes it. The mean is taken of floating numbers, such as running means; of one integer,
such as a number of batches, the largest is kept.
`unit`: the same for a vector of length 1, such as a singular vector of spectral norm; its mean is made as long again.
`constant`: no training pass changes it, such as a mask or random features. It may hold any values.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from heron.errors import SplitError
from heron.split.fakes import has_values
from heron.split.sharing import persistent_buffers
from heron.split.untouched import num_writes, same_bits, untouched

BufferKind = Literal["statistic", "unit", "constant"]

_ROUNDING = 1e-3


def buffer_kinds(parts: nn.ModuleDict, inputs: Tensor) -> dict[str, BufferKind]:
    """Tell for each buffer of the state dict what becomes of it.

    Statistics of BatchNorm and InstanceNorm are known. If there are others, the parts run once in training mode; they
    are as before when this returns.

    Args:
        parts: the client part and, where it has one, its head, each given the outputs of the one before.
        inputs: a batch of inputs on the parts' device, at least one example.

    Raises:
        SplitError: if training changes a buffer whose mean has no meaning.
    """
    buffers = persistent_buffers(parts)
    kinds: dict[str, BufferKind] = dict.fromkeys(buffers, "statistic")
    known = [f"{path}." for path, layer in parts.named_modules() if isinstance(layer, _NormBase)]
    others = {name: buffer for name, buffer in buffers.items() if not name.startswith(tuple(known))}
    if not others:
        return kinds
    before = {name: (buffer.detach().clone(), num_writes(buffer)) for name, buffer in others.items()}
    with untouched(parts, inputs.device):
        parts.train()
        outputs = torch.cat([inputs, inputs])[:2]  # BatchNorm needs two
        for part in parts.values():
            outputs = part(outputs)
        after = persistent_buffers(parts)
        for name, (value, writes) in before.items():
            now = after.get(name, others[name])
            was_written = now is not others[name] or num_writes(now) > writes
            kinds[name] = _kind(name, value, now, was_written=was_written)
    return kinds


def _kind(name: str, before: Tensor, after: Tensor, *, was_written: bool) -> BufferKind:
    if not has_values(after):
        return "statistic"
    if not was_written and same_bits(before, after):
        return "constant"
    is_integer = not (after.dtype.is_floating_point or after.dtype.is_complex or after.dtype == torch.bool)
    if not after.dtype.is_floating_point and not (is_integer and after.numel() == 1):
        found = f"{str(after.dtype).removeprefix('torch.')} of shape {tuple(after.shape)}"
    elif not (bool(before.isfinite().all()) and bool(after.isfinite().all())):
        found = "NaN or infinity"
    else:
        return "unit" if is_unit(before) and is_unit(after) else "statistic"
    raise SplitError(
        f"expected buffers that training changes to be finite floating numbers, whose mean is taken, or one integer, "
        f"found {found} in {name!r}; keep it in a plain attribute, or leave it as it is in training"
    )


def is_unit(tensor: Tensor) -> bool:
    """Return whether a tensor is a vector of length 1, up to rounding."""
    is_vector = tensor.dim() == 1 and tensor.numel() > 1 and tensor.dtype.is_floating_point
    return is_vector and abs(float(tensor.norm()) - 1) < _ROUNDING
