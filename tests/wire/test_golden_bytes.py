"""The bytes on the wire are those of the releases before, whichever kind of array a message holds.

Lengths and digests were written by the code that encoded torch tensors with `safetensors.torch`, before payloads could
be NumPy arrays. Compressed codes are left out: their bytes are the Zstandard library's.
"""

import dataclasses
import hashlib
from typing import Any

import pytest
from torch import Tensor

from heron.arrays import to_host
from heron.wire import Message, decode, encode
from tests.wire.drawing import contents
from tests.wire.golden import packed_messages, plain_messages

GOLDEN = {
    "model_broadcast": (1646, "21451b1957081128"),
    "scalar_broadcast": (432, "354b4ffe544a8afe"),
    "snapshot_request": (160, "199ffbfe3740b7b7"),
    "smashed_data": (520, "834f1147d4ed90b2"),
    "probe_data": (376, "a44a2ae1e7bd7c96"),
    "cut_gradient": (256, "44052f7601cf23c4"),
    "loss_answer": (228, "83e39a4d0348c11a"),
    "client_reply": (428, "ad2715ac8c9b4bdd"),
    "scalar_reply": (412, "704b7bc4c0d536fd"),
    "key_request": (160, "617303819db5334a"),
    "public_key": (248, "c3e5ca15f7b1e7b7"),
    "unmasking": (525, "2a7a8294bc3881f4"),
    "unmasked": (376, "90a592ad5789cdff"),
    "fp32 8x3x4x4": (1928, "c4fc00ceda26ecb2"),
    "fp32 4x6x5": (856, "42f8b07b049c9fb3"),
    "fp32 5x7": (513, "cbcb6afcfa88d2e8"),
    "fp32 11": (430, "e6f92b477dde68d6"),
    "fp16 8x3x4x4": (1160, "12323146a380cb14"),
    "fp16 4x6x5": (616, "248a215954e43863"),
    "fp16 5x7": (443, "e7ec252fccc48737"),
    "fp16 11": (408, "e4df107007afe21c"),
    "int8 8x3x4x4": (864, "d58f8da891d5d887"),
    "int8 4x6x5": (600, "c691587ed2938bb5"),
    "int8 5x7": (528, "4f6d4f953006fcb1"),
    "int8 11": (469, "06b3b3b0d8294223"),
    "int4 8x3x4x4": (672, "a1f0f70ff7d19692"),
    "int4 4x6x5": (540, "8c6d6a88ee020883"),
    "int4 5x7": (511, "24f44ae2a6c3d966"),
    "int4 11": (464, "287b9ab00b0251aa"),
    "dither6 8x3x4x4": (688, "a2d565b649bd131a"),
    "dither6 4x6x5": (600, "88891b3fa168ae11"),
    "dither6 5x7": (585, "f3af046bb8697d63"),
    "dither6 11": (542, "5825a2e469387740"),
    "down fp16": (794, "971570f35925b840"),
    "up fp16": (878, "774b6e8dd138fd28"),
    "down int8": (794, "971570f35925b840"),
    "up int8": (820, "eb72de6024cafc3a"),
    "down int4": (794, "971570f35925b840"),
    "up int4": (692, "9cb4710cc98c68e4"),
    "down dither6": (794, "971570f35925b840"),
    "up dither6": (730, "f543b999133dab33"),
}
MESSAGES = {name: message for name, message in (plain_messages() | packed_messages()).items() if "zstd" not in name}


def on_host(value: Any) -> Any:
    """NumPy arrays in the place of tensors."""
    if isinstance(value, dict):
        return {name: on_host(entry) for name, entry in value.items()}
    return to_host(value) if isinstance(value, Tensor) else value


def with_arrays(message: Message) -> Message:
    changes = {field.name: on_host(getattr(message, field.name)) for field in dataclasses.fields(message)}
    return dataclasses.replace(message, **changes)


def found(message: Message) -> tuple[int, str]:
    data = encode(message)
    return len(data), hashlib.blake2b(data, digest_size=8).hexdigest()


@pytest.mark.parametrize("name", GOLDEN)
def test_tensors_and_arrays_give_the_bytes_of_before(name: str) -> None:
    message = MESSAGES[name]
    assert found(message) == found(with_arrays(message)) == GOLDEN[name]
    assert found(decode(encode(message))) == GOLDEN[name]
    assert contents(with_arrays(message)) == contents(message)


def test_every_message_has_its_bytes() -> None:
    assert MESSAGES.keys() == GOLDEN.keys()
