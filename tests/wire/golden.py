"""Messages of every type and element type, of values that depend on no generator, as tensors or NumPy arrays."""

import torch
from torch import Tensor

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
    pack_upload,
)
from heron.wire.groups import Smashed
from heron.wire.mask_messages import KeyRequest, PublicKey, Unmasked, Unmasking
from heron.wire.update_codec import UpdateCodec

DTYPES = ("int64", "float64", "float32", "int32", "bfloat16", "float16", "int16", "int8", "uint8", "bool")


def values(dtype: str, *shape: int) -> Tensor:
    """Arbitrary bits: bytes 0, 37, 74, ... modulo 251; booleans in turn."""
    kind: torch.dtype = getattr(torch, dtype)
    count = torch.Size(shape).numel() * kind.itemsize
    content = (torch.arange(count) * 37 % (2 if dtype == "bool" else 251)).byte()
    return content.view(kind).reshape(shape)


def wave(*shape: int) -> Tensor:
    """Fractions from -1 to 1, exact in float32."""
    return ((torch.arange(torch.Size(shape).numel()) * 97 % 129 - 64) / 64).reshape(shape)


def plain_messages() -> dict[str, Message]:
    """A message of every type but the packed one; the broadcast has every element type and odd shapes."""
    flat = wave(30)
    model = {f"layer.{dtype}": values(dtype, 2, 3) for dtype in DTYPES}
    model |= {"scalar": torch.tensor(1.5), "none": torch.zeros(0, 4), "é/b": flat[3:9], "tied": flat[3:9]}
    model |= {"strided": flat[::7], "transposed": wave(4, 3).T}
    loss, scalars = torch.tensor(0.625), wave(6)
    entries = torch.tensor([[2, 0, 1, 2], [3, 1, 40, 4]], dtype=torch.int32)
    return {
        "model_broadcast": ModelBroadcast(3, 1, model),
        "scalar_broadcast": ScalarBroadcast(3, 1, 2, 77, entries, scalars, {"seen": torch.tensor(7)}),
        "snapshot_request": SnapshotRequest(3, 1),
        "smashed_data": SmashedData(3, 1, 2, wave(4, 3, 2, 2), torch.tensor([0, 9, 3, 5])),
        "probe_data": ProbeData(3, 1, 2, 1, wave(4, 3), torch.tensor([0, 9, 3, 5])),
        "cut_gradient": CutGradient(3, 1, 2, wave(4, 3).bfloat16()),
        "loss_answer": LossAnswer(3, 1, 2, loss),
        "client_reply": ClientReply(3, 1, 40, 2, loss, {"weight": wave(4, 3), "seen": torch.tensor(7)}),
        "scalar_reply": ScalarReply(3, 1, 40, 2, loss, scalars, {"seen": torch.tensor(7)}),
        "key_request": KeyRequest(3, 1),
        "public_key": PublicKey(3, 1, values("uint8", 32)),
        "unmasking": Unmasking(3, 1, values("bool", 5), values("uint8", 5, 48)),
        "unmasked": Unmasked(3, 1, values("uint8", 5, 32)),
    }


def packed_messages() -> dict[str, Message]:
    """Uploads and updates of every codec, of shapes with and without channels."""
    messages: dict[str, Message] = {}
    for codec in ("fp32", "fp16", "int8", "int4", "dither6"):
        for shape in ((8, 3, 4, 4), (4, 6, 5), (5, 7), (11,)):
            upload = SmashedData(3, 1, 2, wave(*shape).relu(), torch.arange(shape[0]) * 50 - 100)
            for zstd in (False, True):
                packed: PackedData = pack_upload(upload, Smashed(codec, zstd), 2**63 + 12345)
                messages[f"{codec} {'zstd ' * zstd}{'x'.join(map(str, shape))}"] = packed
    start = {"a": wave(20, 10), "seen": torch.tensor(7), "b": wave(7)}
    end = {"a": start["a"] + wave(10, 20).T / 8, "seen": torch.tensor(9), "b": start["b"] * 0.75}
    for codec in ("fp16", "int8", "int4", "dither6"):
        coder = UpdateCodec(codec, start, {})
        messages[f"down {codec}"] = ModelBroadcast(3, 1, coder.pack_model(start))
        messages[f"up {codec}"] = ClientReply(3, 1, 40, 2, torch.tensor(0.625), coder.pack_update(end, start, 99))
    return messages
