"""Model arrays in few bytes: float16 values down, coded changes up.

Everything that travels as an array, which is what is trained exactly, buffers and, with `update=dense`, theta too, is
one vector. It goes down in float16. A client sends back the change of its arrays since, `w_i - w'` with w' what it
received, as float16 or quantised in blocks of 128 with stochastic rounding. The Fed Server adds that to its own float32
values:

    w <- w + mean_i (w_i - w')

so what rounding takes from a broadcast is not lost, and the quantised mean is unbiased.
"""

import math
from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from heron.arrays import Array, namespace
from heron.errors import MessageError
from heron.wire.kinds import to_kind_of
from heron.wire.payload import Codec
from heron.wire.quantiser import pack_tensor, unpack_tensor
from heron.wire.terms import TensorTerm, Terms

_PREFIX = "packed/"
_BLOCK = 128

Shaped = Array | TensorTerm


class UpdateCodec:
    """Codec of model arrays; the same on both sides.

    Args:
        codec: codec of changes, `fp16`, `int8`, `int4` or `dither6`; values go down as float16.
        sent: arrays by name that clients send back, or their terms; both sides know names, shapes and order.
        received_only: those that they only receive.
    """

    def __init__(self, codec: Codec, sent: Mapping[str, Shaped], received_only: Mapping[str, Shaped]) -> None:
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

    def pack_model(self, arrays: Mapping[str, Array]) -> dict[str, Any]:
        """Pack what goes down; arrays that are not this codec's stay as they are."""
        return _pack(arrays, self._down, "fp16", 0)

    def unpack_model(self, packed: Mapping[str, Array]) -> dict[str, Any]:
        """Unpack what a client received: float32, NumPy arrays unless on a GPU.

        Raises:
            MessageError: if it is damaged.
        """
        return _unpack(packed, self._down)

    def pack_update(self, arrays: Mapping[str, Array], start: Mapping[str, Array], seed: int) -> dict[str, Any]:
        """Pack what goes up.

        Args:
            arrays: values after the round.
            start: values as they were received, of the same kind; may hold more.
            seed: of the stochastic rounding.

        Raises:
            TrainingError: if a change is not finite.
        """
        changes = {
            name: array - to_kind_of(start[name], array) if name in self._up else array
            for name, array in arrays.items()
        }
        return _pack(changes, self._up, self._codec, seed)

    def unpack_update(self, packed: Mapping[str, Array], start: Mapping[str, Array]) -> dict[str, Any]:
        """Unpack what came up: the changed arrays, of the kind and on the device of `start`.

        Args:
            packed: as `pack_update` returned it, or a stranger's.
            start: values that the arrays changed from.

        Raises:
            MessageError: if the update is damaged.
        """
        changes = _unpack(packed, self._up)
        return {
            name: start[name] + to_kind_of(change, start[name]) if name in self._up else change
            for name, change in changes.items()
        }


def _float_shapes(arrays: Mapping[str, Shaped]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items() if "float" in str(array.dtype)}


def _pack(
    arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]], codec: Codec, seed: int
) -> dict[str, Any]:
    """The arrays named in `shapes` as one packed vector, the rest as they are."""
    rest = {name: array for name, array in arrays.items() if name not in shapes}
    if not shapes:
        return rest
    pieces: list[Any] = [arrays[name] for name in shapes]
    xp = namespace(pieces[0])
    with np.errstate(all="ignore"):  # what overflows is refused
        flat = xp.concat([xp.asarray(piece.reshape(-1), dtype=xp.float32) for piece in pieces])
    # float16 needs no blocks, hence no padding.
    packed = pack_tensor(flat if codec == "fp16" else _in_blocks(flat), codec, seed)
    return rest | {_PREFIX + name: array for name, array in packed.items()}


def _in_blocks(flat: Any) -> Any:
    num_blocks = -(-len(flat) // _BLOCK)
    blocks = namespace(flat).zeros(num_blocks * _BLOCK, dtype=flat.dtype, device=flat.device)
    blocks[: len(flat)] = flat
    return blocks.reshape(1, num_blocks, _BLOCK, 1)


def _unpack(packed: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    rest = {name: array for name, array in packed.items() if not name.startswith(_PREFIX)}
    if not shapes:
        return rest
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = {name.removeprefix(_PREFIX): array for name, array in packed.items() if name not in rest}
    if "shape" not in parts:
        raise MessageError("expected packed model tensors, found none; both sides need the same update_codec")
    flat = unpack_tensor(parts, max_elements=sum(sizes) + _BLOCK).reshape(-1)
    if not sum(sizes) <= len(flat) < sum(sizes) + _BLOCK:
        raise MessageError(f"expected {sum(sizes)} packed model values, found {len(flat)}")
    stops = accumulate(sizes, initial=0)
    return rest | {
        name: flat[start:stop].reshape(shape)
        for (name, shape), (start, stop) in zip(shapes.items(), pairwise(stops), strict=True)
    }
