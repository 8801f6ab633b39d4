"""Uploads in few bytes: smashed data packed by a codec, labels in the narrowest integers that hold them.

Packing happens where a client makes its upload and unpacking where the Main Server takes it in, so that passing
messages by reference and over a wire compute the same.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from heron.arrays import Array, dtype_name, namespace, plain
from heron.errors import MessageError
from heron.wire.groups import Smashed
from heron.wire.messages import PackedData, SmashedData
from heron.wire.payload import MAX_ELEMENTS
from heron.wire.quantiser import pack_tensor, packed_bytes, unpack_tensor

_INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
"""From narrow to wide, the one for class labels first."""


def pack_upload(upload: SmashedData, codec: Smashed, seed: int) -> PackedData:
    """Write an upload in few bytes.

    Args:
        upload: smashed data and labels.
        codec: codec of the smashed data.
        seed: of the stochastic rounding.

    Returns:
        The upload, packed.

    Raises:
        TrainingError: if smashed data are NaN, infinite or too large for the codec.
        MessageError: if they are no floating array.
    """
    packed = pack_tensor(upload.smashed, codec.codec, seed, zstd=codec.zstd)
    return PackedData(upload.round_index, upload.client_id, upload.local_step, packed, narrow(upload.labels))


def unpack_upload(upload: PackedData, *, max_elements: int = MAX_ELEMENTS) -> SmashedData:
    """Inverse of `pack_upload`: smashed data in float32, integer labels in int64; NumPy arrays unless on a GPU.

    Args:
        upload: what `pack_upload` returned, or a stranger's.
        max_elements: refuse more values, before any room is made for them.

    Raises:
        MessageError: if the upload is damaged, or has not one label for each example.
    """
    smashed = unpack_tensor(upload.packed, max_elements=max_elements)
    labels: Any = plain(upload.labels)
    if not smashed.ndim or not labels.ndim or len(labels) != len(smashed):
        raise MessageError(
            f"client {upload.client_id} in round {upload.round_index + 1}: expected as many labels as examples, found "
            f"labels of shape {tuple(labels.shape)[:8]} for smashed data of shape {tuple(smashed.shape)}"
        )
    if dtype_name(labels) in _INTEGERS:
        labels = namespace(labels).asarray(labels, dtype=namespace(labels).int64)
    return SmashedData(upload.round_index, upload.client_id, upload.local_step, smashed, labels)


def narrow(labels: Array) -> Array:
    """Integer labels in the narrowest of uint8, int8, int16, int32 and int64 that holds them; others as they are.

    Examples:
        >>> narrow(np.array([0, 9])).dtype, narrow(np.array([-100, 5])).dtype
        (dtype('uint8'), dtype('int8'))
    """
    if dtype_name(labels) not in _INTEGERS:
        return labels
    values: Any = plain(labels)
    low, high = (int(values.min()), int(values.max())) if math.prod(values.shape) else (0, 0)
    limits = {dtype: np.iinfo(dtype) for dtype in _INTEGERS}
    narrowest = next(dtype for dtype in _INTEGERS if limits[dtype].min <= low and high <= limits[dtype].max)
    xp = namespace(values)
    narrowed: Array = xp.asarray(values, dtype=getattr(xp, narrowest))
    return narrowed


def smashed_bytes(shape: Sequence[int], item_bytes: int, codec: Smashed) -> int:
    """Bytes of smashed data in an upload, compression left aside because it depends on the values.

    Args:
        shape: of the smashed data, (B, ...).
        item_bytes: size of one value that the client computes with.
        codec: codec that clients write them with.
    """
    return packed_bytes(shape, codec.codec) if codec.packs else math.prod(shape) * item_bytes
