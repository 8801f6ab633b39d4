"""How each message lies in named tensors: one row per message type, used by encoding, decoding and counting alike.

Tensor names: `integers` holds the message's integers in the order of the row; `FIELD` is a single tensor;
`FIELD/NAME` is an entry of a mapping of tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from heron.comms.messages import ClientReply, Message, ModelBroadcast, SmashedData

INTEGERS = "integers"


@dataclass(frozen=True)
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
        "smashed_data",
        SmashedData,
        ("round_index", "client_id", "local_step"),
        {"smashed": "smashed", "labels": "labels"},
        {},
    ),
    Layout(
        "client_reply",
        ClientReply,
        ("round_index", "client_id", "num_examples", "num_steps"),
        {"train_loss": "scalars"},
        {"model": "model"},
        scalars=("train_loss",),
    ),
)
BY_TAG = {layout.tag: layout for layout in LAYOUTS}
BY_TYPE = {layout.message: layout for layout in LAYOUTS}


def named_tensors(message: Message) -> dict[str, Tensor]:
    """Every tensor of a message but its integers, under its name on the wire; no copies."""
    layout = BY_TYPE[type(message)]
    tensors = {field: getattr(message, field) for field in layout.tensors}
    for field in layout.mappings:
        tensors |= {f"{field}/{name}": tensor for name, tensor in getattr(message, field).items()}
    return tensors


def integer_tensor(message: Message) -> Tensor:
    """The message's integers, int64."""
    layout = BY_TYPE[type(message)]
    return torch.tensor([getattr(message, field) for field in layout.integers], dtype=torch.int64)


def kind_of(layout: Layout, name: str) -> str:
    """What the bytes of a tensor are billed as."""
    field = name.partition("/")[0]
    return layout.tensors.get(field) or layout.mappings[field]
