"""Model tensors in few bytes: float16 values down, coded changes up.

Everything that travels as a tensor, which is what is trained exactly, buffers and, with `update=dense`, theta too, is
one vector. It goes down in float16. A client sends back how its tensors changed since, `w_i - w'` with w' what it
received, as float16 or quantised in blocks of 128 with stochastic rounding. The Fed Server adds that to its own float32
values:

    w <- w + mean_i (w_i - w')

so what rounding takes from a broadcast is not lost, and the quantised mean is unbiased.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from heron.errors import MessageError
from heron.wire import Codec, pack_tensor, unpack_tensor

_PREFIX = "packed/"
_BLOCK = 128


class UpdateCodec:
    """How model tensors travel; the same on both sides.

    Args:
        codec: of what goes up, `fp16`, `int8`, `int4` or `dither6`; values go down as float16.
        sent: tensors by name that clients send back, of whose names, shapes and order both sides know.
        received_only: those that they only receive.
    """

    def __init__(self, codec: Codec, sent: Mapping[str, Tensor], received_only: Mapping[str, Tensor]) -> None:
        self._codec = codec
        self._up = _float_shapes(sent)
        self._down = self._up | _float_shapes(received_only)

    @classmethod
    def of(cls, terms: Terms) -> "UpdateCodec | None":
        """Return the codec of a run's terms; None where arrays travel as they are."""
        if terms.settings.update_codec == "fp32":
            return None
        named = {term.name: term for term in terms.tensors}
        sent = {name: named[name] for name in terms.sent_back}
        return cls(terms.settings.update_codec, sent, {name: named[name] for name in terms.names("downlink_only")})

    def pack_model(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What goes down; tensors that are not this codec's stay as they are."""
        return _pack(tensors, self._down, "fp16", 0)

    def unpack_model(self, packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a client received, in float32.

        Raises:
            MessageError: if it is damaged.
        """
        return _unpack(packed, self._down)

    def pack_update(self, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
        """What goes up.

        Args:
            tensors: after the round.
            start: as they were received; may hold more.
            seed: of the stochastic rounding.

        Raises:
            TrainingError: if a change is not finite.
        """
        changes = {name: tensor - start[name] if name in self._up else tensor for name, tensor in tensors.items()}
        return _pack(changes, self._up, self._codec, seed)

    def unpack_update(self, packed: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The changed tensors, on the device of `start`, which holds the values that they changed from.

        Raises:
            MessageError: if the update is damaged.
        """
        changes = _unpack(packed, self._up)
        return {
            name: start[name] + change.to(start[name].device) if name in self._up else change
            for name, change in changes.items()
        }


def _float_shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if tensor.dtype.is_floating_point}


def _pack(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], codec: Codec, seed: int
) -> dict[str, Tensor]:
    """The tensors named in `shapes` as one packed vector, the rest as they are."""
    rest = {name: tensor for name, tensor in tensors.items() if name not in shapes}
    if not shapes:
        return rest
    flat = torch.cat([tensors[name].detach().float().reshape(-1) for name in shapes])
    num_blocks = -(-len(flat) // _BLOCK)
    blocks = torch.nn.functional.pad(flat, (0, num_blocks * _BLOCK - len(flat))).view(1, num_blocks, _BLOCK, 1)
    # float16 needs no blocks, hence no padding.
    packed = pack_tensor(flat if codec == "fp16" else blocks, codec, seed)
    return rest | {_PREFIX + name: tensor for name, tensor in packed.items()}


def _unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    rest = {name: tensor for name, tensor in packed.items() if not name.startswith(_PREFIX)}
    if not shapes:
        return rest
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = {name.removeprefix(_PREFIX): tensor for name, tensor in packed.items() if name not in rest}
    if "shape" not in parts:
        raise MessageError("expected packed model tensors, found none; both sides need the same update_codec")
    flat = unpack_tensor(parts, max_elements=sum(sizes) + _BLOCK).reshape(-1)
    if not sum(sizes) <= len(flat) < sum(sizes) + _BLOCK:
        raise MessageError(f"expected {sum(sizes)} packed model values, found {len(flat)}")
    pieces = torch.split(flat[: sum(sizes)], sizes)
    return rest | {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
