"""How each message lies in named tensors: one row per message type, used by encoding, decoding and counting alike.

Tensor names: `integers` holds the message's integers in the order of the row; `FIELD` is a single tensor;
`FIELD/NAME` is an entry of a mapping of tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from heron.errors import MessageError
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
        tensors: its single-tensor fields, with the kind their bytes are billed as.
        mappings: its fields that map names to tensors, with their kind.
        scalars: those of `tensors` that are float32 of shape ().
    """

    tag: str
    message: type[Message]
    integers: tuple[str, ...]
    tensors: Mapping[str, str]
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


def named_tensors(layout: Layout, message: Message) -> dict[str, Tensor]:
    """Every tensor of a message but its integers, under its name on the wire; no copies."""
    tensors = {field: getattr(message, field) for field in layout.tensors}
    for field in layout.mappings:
        tensors |= {f"{field}/{name}": tensor for name, tensor in getattr(message, field).items()}
    return tensors


def integer_tensor(layout: Layout, message: Message) -> Tensor:
    """The message's integers, int64, shape (number of integers,).

    Raises:
        MessageError: if one is not an int from 0 to 2^63 - 1.
    """
    values = [getattr(message, field) for field in layout.integers]
    for field, value in zip(layout.integers, values, strict=True):
        if not isinstance(value, int) or not 0 <= value < 2**63:
            raise MessageError(f"{layout.tag}: expected {field} as an int from 0 to 2^63 - 1, found {value!r}")
    return torch.tensor(values, dtype=torch.int64)


def check_scalars(layout: Layout, tensors: Mapping[str, Tensor]) -> None:
    """Refuse scalars that are anything else than one float32.

    Raises:
        MessageError: naming the field.
    """
    for field in layout.scalars:
        dtype, shape = tensors[field].dtype, tuple(tensors[field].shape)
        if dtype != torch.float32 or shape != ():
            raise MessageError(f"{layout.tag}: expected {field} as one float32 of shape (), found {dtype} {shape[:8]}")


def kind_of(layout: Layout, name: str) -> str:
    """What the bytes of a tensor are billed as."""
    field = name.partition("/")[0]
    return layout.tensors.get(field) or layout.mappings[field]
