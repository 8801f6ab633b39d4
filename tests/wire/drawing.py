"""Hypothesis strategies for messages, their comparison bit for bit, and blobs built by hand."""

import dataclasses
import json
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from heron.arrays import Array
from heron.wire import (
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
    decode,
    encode,
    encoded_sizes,
    pack_tensor,
)
from heron.wire.mask_messages import KeyRequest, PublicKey, Unmasked, Unmasking

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)
# Sizes at which an offset in the header gains a digit, beside the small ones.
SIDES = (0, 1, 2, 3, 5, 7, 12, 13, 24, 25, 49, 50, 99, 100, 125)
MAX_INTEGER = 2**63 - 1
# The integers of a broadcast written by hand: round 1, client 2.
TWO_INTEGERS = {"dtype": "I64", "shape": [2], "data_offsets": [0, 16]}
BODY = np.array([1, 2], "<i8").tobytes()


def filled(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """A tensor of arbitrary bits, NaN payloads included."""
    generator = torch.Generator().manual_seed(seed)
    high = 2 if dtype == torch.bool else 256
    count = torch.Size(shape).numel() * dtype.itemsize
    return torch.randint(0, high, (count,), dtype=torch.uint8, generator=generator).view(dtype).reshape(shape)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = tuple(draw(st.lists(st.sampled_from(SIDES), max_size=2)))
    tensor = filled(shape, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99)))
    if tensor.dim() == 2:
        tensor = draw(st.sampled_from([tensor, tensor.T, tensor[:, ::2], tensor[1:], tensor.expand(3, -1, -1)]))
    return tensor


@st.composite
def models(draw: st.DrawFn) -> dict[str, Tensor]:
    """Named tensors: of their own, views of one flat buffer (overlapping or not), and one tensor under two names."""
    names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    model = draw(st.dictionaries(names, tensors(), max_size=4))
    flat = filled((40,), draw(st.sampled_from(DTYPES)), 1)
    for start, stop in draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=3)):
        model[f"view.{start}.{stop}"] = flat[start:stop]
    if model and draw(st.booleans()):
        model["tied"] = next(iter(model.values()))
    return model


INTEGERS = st.one_of(st.integers(0, 20), st.just(MAX_INTEGER))
LOSSES = st.floats(width=32).map(lambda value: torch.tensor(value, dtype=torch.float32))
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(ModelBroadcast, INTEGERS, INTEGERS, models()),
    st.builds(SmashedData, INTEGERS, INTEGERS, INTEGERS, tensors(), tensors()),
    st.builds(PackedData, INTEGERS, INTEGERS, INTEGERS, models(), tensors()),
    st.builds(ProbeData, INTEGERS, INTEGERS, INTEGERS, INTEGERS, tensors(), tensors()),
    st.builds(CutGradient, INTEGERS, INTEGERS, INTEGERS, tensors()),
    st.builds(LossAnswer, INTEGERS, INTEGERS, INTEGERS, LOSSES),
    st.builds(ClientReply, INTEGERS, INTEGERS, INTEGERS, INTEGERS, LOSSES, models()),
    st.builds(ScalarReply, INTEGERS, INTEGERS, INTEGERS, INTEGERS, LOSSES, tensors(), models()),
    st.builds(ScalarBroadcast, INTEGERS, INTEGERS, INTEGERS, INTEGERS, tensors(), tensors(), models()),
    st.builds(SnapshotRequest, INTEGERS, INTEGERS),
    st.builds(KeyRequest, INTEGERS, INTEGERS),
    st.builds(PublicKey, INTEGERS, INTEGERS, tensors()),
    st.builds(Unmasking, INTEGERS, INTEGERS, tensors(), tensors()),
    st.builds(Unmasked, INTEGERS, INTEGERS, tensors()),
)


def bits(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    if not isinstance(array, Tensor):
        return array.dtype.name, array.shape, array.tobytes()
    # A copy: `contiguous` keeps odd strides of dimensions of size one, which `view` refuses.
    plain = array.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)
    return str(array.dtype).removeprefix("torch."), tuple(array.shape), plain.numpy().tobytes()


def contents(message: Message) -> dict[str, Any]:
    """A message as values that `==` compares bit for bit."""
    values: dict[str, Any] = {"type": type(message)}
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if isinstance(value, Tensor | np.ndarray | np.generic):
            value = bits(value)
        elif isinstance(value, dict):
            value = {name: bits(array) for name, array in value.items()}
        values[field.name] = value
    return values


def assert_valid(message: Message) -> None:
    """A message that travels once more unchanged, at the size that is counted for it."""
    data = encode(message)
    assert contents(decode(data)) == contents(message)
    assert sum(encoded_sizes(message).values()) == len(data)


def one_of_each() -> list[Message]:
    """A small message of every type, with several dtypes."""
    model = {"weight": torch.tensor([[1.5, -2.0]]), "seen": torch.tensor(7), "flag": torch.tensor([True, False])}
    return [
        ModelBroadcast(3, 1, model),
        SmashedData(3, 1, 2, torch.tensor([[0.25], [4.0]], dtype=torch.bfloat16), torch.tensor([5, 6])),
        ProbeData(3, 1, 2, 0, torch.tensor([[0.25], [4.0]], dtype=torch.bfloat16), torch.tensor([5, 6])),
        CutGradient(3, 1, 2, torch.tensor([[-0.5], [2.0]], dtype=torch.bfloat16)),
        LossAnswer(3, 1, 2, torch.tensor(0.5)),
        ClientReply(3, 1, 40, 2, torch.tensor(0.5), {"weight": model["weight"]}),
        ScalarReply(3, 1, 40, 2, torch.tensor(0.5), torch.tensor([-1.0, 2.0]), {"seen": model["seen"]}),
        ScalarBroadcast(
            3,
            1,
            2,
            77,
            torch.tensor([[2, 0, 1, 2]], dtype=torch.int32),
            torch.tensor([-1.0, 2.0]),
            {"seen": model["seen"]},
        ),
        SnapshotRequest(3, 1),
        PackedData(3, 1, 2, pack_tensor(torch.tensor([[0.25], [4.0]]), "int4", 0), torch.tensor([5, 6]).byte()),
    ]


def blob(header: Any, body: bytes = b"") -> bytes:
    """Safetensors bytes around any header, given as JSON values or as bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + body


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of an encoded message, and its body."""
    stop = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:stop]), data[stop:]


def broadcast(tensors: Any = None, *, body: bytes = BODY, tag: Any = "model_broadcast", version: Any = 1) -> bytes:
    """A broadcast written by hand; `tensors` come after the integers."""
    text = json.dumps({"type": tag, "version": version}, separators=(",", ":"))
    return blob({"__metadata__": {"heron": text}, "integers": TWO_INTEGERS, **(tensors or {})}, body)
