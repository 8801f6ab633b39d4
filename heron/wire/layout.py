"""Layout of each message in named arrays: one row per message type, used by encoding, decoding and counting alike.

Names of arrays: `integers` holds the message's integers in the order of the row; `FIELD` is a single array;
`FIELD/NAME` is an entry of a mapping of arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, dtype_name
from heron.errors import MessageError
from heron.wire.mask_messages import MASKS, KeyRequest, PublicKey, Unmasked, Unmasking
from heron.wire.messages import (
    ClientReply,
    CutGradient,
    LossAnswer,
    Message,
    ModelBroadcast,
    PackedData,
    ProbeData,
    ScalarBroadcast,
    ScalarReply,
    SmashedData,
    SnapshotRequest,
)

INTEGERS = "integers"


@dataclass(frozen=True, eq=False)  # rows are compared by identity, so that they can be keys of a cache
class Layout:
    """One message type.

    Attributes:
        tag: name of the type on the wire.
        message: the class.
        integers: its integer fields.
        arrays: its single-array fields, with the kind their bytes are billed as.
        mappings: its fields that map names to arrays, with their kind.
        scalars: those of `arrays` that are float32 of shape ().
    """

    tag: str
    message: type[Message]
    integers: tuple[str, ...]
    arrays: Mapping[str, str]
    mappings: Mapping[str, str]
    scalars: tuple[str, ...] = ()


LAYOUTS = (
    Layout("model_broadcast", ModelBroadcast, ("round_index", "client_id"), {}, {"model": "model"}),
    Layout(
        "scalar_broadcast",
        ScalarBroadcast,
        ("round_index", "client_id", "base_round", "digest"),
        {"entries": "scalars", "scalars": "scalars"},
        {"model": "model"},
    ),
    Layout("snapshot_request", SnapshotRequest, ("round_index", "client_id"), {}, {}),
    Layout(
        "smashed_data",
        SmashedData,
        ("round_index", "client_id", "local_step"),
        {"smashed": "smashed", "labels": "labels"},
        {},
    ),
    Layout(
        "packed_data",
        PackedData,
        ("round_index", "client_id", "local_step"),
        {"labels": "labels"},
        {"packed": "smashed"},
    ),
    Layout(
        "probe_data",
        ProbeData,
        ("round_index", "client_id", "local_step", "probe"),
        {"smashed": "smashed", "labels": "labels"},
        {},
    ),
    Layout("cut_gradient", CutGradient, ("round_index", "client_id", "local_step"), {"gradient": "cut_gradient"}, {}),
    Layout(
        "loss_answer",
        LossAnswer,
        ("round_index", "client_id", "local_step"),
        {"loss": "scalars"},
        {},
        scalars=("loss",),
    ),
    Layout(
        "client_reply",
        ClientReply,
        ("round_index", "client_id", "num_examples", "num_steps"),
        {"train_loss": "scalars"},
        {"model": "model"},
        scalars=("train_loss",),
    ),
    Layout(
        "scalar_reply",
        ScalarReply,
        ("round_index", "client_id", "num_examples", "num_steps"),
        {"train_loss": "scalars", "projected_gradients": "scalars"},
        {"model": "model"},
        scalars=("train_loss",),
    ),
    Layout("key_request", KeyRequest, ("round_index", "client_id"), {}, {}),
    Layout("public_key", PublicKey, ("round_index", "client_id"), {"key": "masks"}, {}),
    Layout("unmasking", Unmasking, ("round_index", "client_id"), {"arrived": "masks", "sealed": "masks"}, {}),
    Layout("unmasked", Unmasked, ("round_index", "client_id"), {"revealed": "masks"}, {}),
)
_BY_TYPE = {layout.message: layout for layout in LAYOUTS}


def layout_of(message: Message) -> Layout:
    """The row of a message's type.

    Raises:
        MessageError: if the type has none.
    """
    layout = _BY_TYPE.get(type(message))
    if layout is None:
        expected = ", ".join(layout.message.__name__ for layout in LAYOUTS)
        raise MessageError(f"expected one of {expected}, found {type(message).__name__}; give it a row in LAYOUTS")
    return layout


def named_arrays(layout: Layout, message: Message) -> dict[str, Array]:
    """Every array of a message but its integers, under its name on the wire; no copies."""
    arrays = {field: getattr(message, field) for field in layout.arrays}
    for field in layout.mappings:
        arrays |= {f"{field}/{name}": array for name, array in getattr(message, field).items()}
    return arrays


def integer_array(layout: Layout, message: Message) -> NDArray[np.int64]:
    """The message's integers, shape (number of integers,).

    Raises:
        MessageError: if one is not an int from 0 to 2^63 - 1.
    """
    values = [getattr(message, field) for field in layout.integers]
    for field, value in zip(layout.integers, values, strict=True):
        if not isinstance(value, int) or not 0 <= value < 2**63:
            raise MessageError(f"{layout.tag}: expected {field} as an int from 0 to 2^63 - 1, found {value!r}")
    return np.array(values, np.int64)


def check_scalars(layout: Layout, arrays: Mapping[str, Array]) -> None:
    """Refuse scalars that are anything else than one float32.

    Raises:
        MessageError: naming the field.
    """
    for field in layout.scalars:
        dtype, shape = dtype_name(arrays[field]), tuple(arrays[field].shape)
        if dtype != "float32" or shape != ():
            raise MessageError(f"{layout.tag}: expected {field} as one float32 of shape (), found {dtype} {shape[:8]}")


def kind_of(layout: Layout, name: str) -> str:
    """Kind that the bytes of an array are billed as."""
    field, _, entry = name.partition("/")
    if entry.startswith(MASKS):
        return "masks"
    return layout.arrays.get(field) or layout.mappings[field]
