"""Packed uploads: what comes back, what they weigh, and what a Main Server refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heron.errors import MessageError
from heron.wire import (
    CODECS,
    PackedData,
    SmashedData,
    decode,
    encode,
    encoded_sizes,
    pack_upload,
    smashed_bytes,
    unpack_tensor,
    unpack_upload,
)
from heron.wire.compression import MAX_EXPANSION, compress_bytes
from heron.wire.groups import Smashed
from heron.wire.payload import MAX_ELEMENTS
from heron.wire.smashed import narrow

WAYS = [Smashed(codec, zstd) for codec in CODECS for zstd in (False, True)]


def upload(smashed: Tensor | None = None, labels: Tensor | None = None) -> SmashedData:
    if smashed is None:
        smashed = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)).relu()
    return SmashedData(3, 1, 2, smashed, torch.arange(len(smashed)) if labels is None else labels)


def packed(codec: str = "int8", *, zstd: bool = False) -> PackedData:
    return pack_upload(upload(), Smashed(codec, zstd), 0)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_an_upload_comes_back(way: Smashed) -> None:
    sent = upload()
    message = pack_upload(sent, way, 5)
    received = unpack_upload(decode(encode(message)))
    assert (received.round_index, received.client_id, received.local_step) == (3, 1, 2)
    assert np.array_equal(received.labels, sent.labels)
    assert received.labels.dtype == np.int64
    assert np.array_equal(received.smashed, unpack_tensor(message.packed))
    worst = abs(received.smashed - sent.smashed.numpy()).max() / sent.smashed.max()
    assert worst <= {"fp32": 0.0, "fp16": 2.0**-11, "int8": 1 / 255, "int4": 1 / 15, "dither6": 1 / 10}[way.codec]


def test_bytes_by_hand() -> None:
    """8 x 3 x 4 x 4 = 384 values, 3 channels of two floats, a shape of four 32-bit integers, 8 labels of a byte."""
    expected = {
        "fp32": 1536 + 16,
        "fp16": 768 + 16,
        "int8": 384 + 24 + 16,
        "int4": 192 + 24 + 16,
        "dither6": 128 + 24 + 16 + 8,
    }
    for codec, size in expected.items():
        sizes = encoded_sizes(packed(codec))
        assert (sizes["smashed"], sizes["labels"]) == (size, 8)
        if codec != "fp32":
            assert smashed_bytes((8, 3, 4, 4), 4, Smashed(codec)) == size
    assert smashed_bytes((8, 3, 4, 4), 8, Smashed()) == 384 * 8
    assert smashed_bytes((8, 3, 4, 4), 8, Smashed(zstd=True)) == 384 * 4 + 16


def test_defaults_do_not_pack() -> None:
    assert [way.packs for way in WAYS] == [False] + [True] * 9


@given(st.lists(st.one_of(st.integers(-200, 300), st.integers(-(2**63), 2**63 - 1)), max_size=5))
@settings(deadline=None)
def test_labels_travel_in_the_narrowest_integers(values: list[int]) -> None:
    labels = torch.tensor(values, dtype=torch.int64)
    found = narrow(labels)
    assert np.array_equal(found, labels)
    fitting = [
        dtype
        for dtype in (np.uint8, np.int8, np.int16, np.int32, np.int64)
        if all(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max for value in values)
    ]
    assert found.dtype.itemsize == min(np.dtype(dtype).itemsize for dtype in fitting)


def test_labels_of_tokens_survive() -> None:
    labels = torch.tensor([[-100, 50_256, 0], [7, -100, 32_768]])
    message = pack_upload(upload(torch.ones(2, 3, 4), labels), Smashed("int8"), 0)
    assert message.labels.dtype == np.int32
    assert np.array_equal(unpack_upload(message).labels, labels)


@pytest.mark.parametrize("labels", [torch.rand(8, 5), torch.ones(8, dtype=torch.bool)], ids=["probabilities", "bools"])
def test_other_labels_stay_what_they_are(labels: Tensor) -> None:
    received = unpack_upload(pack_upload(upload(labels=labels), Smashed("int4"), 0))
    assert np.array_equal(received.labels, labels)


def shape_of(*sizes: int) -> dict[str, Tensor]:
    return {"shape": torch.tensor(sizes, dtype=torch.int32)}


def scales(low: float, step: float) -> dict[str, Tensor]:
    return {"scales": torch.tensor([[low] * 3, [step] * 3])}


def zstd(content: bytes) -> dict[str, Tensor]:
    return {"int8.zstd": torch.tensor(list(content), dtype=torch.uint8)}


RIGHT = compress_bytes(bytes(384))
REFUSED = {
    "no codes": ({"int8": None}, "expected codes"),
    "an unknown codec": (
        {"int8": None, "int3": torch.zeros(384, dtype=torch.uint8)},
        "found 'int3', 'scales', 'shape'",
    ),
    "codes twice": ({"int4": torch.zeros(192, dtype=torch.uint8)}, "expected codes"),
    "no shape": ({"shape": None}, "expected codes"),
    "no scales": ({"scales": None}, "expected codes"),
    "one entry more": ({"extra": torch.zeros(1)}, "expected codes"),
    "codes of another dtype": ({"int8": torch.zeros(384, dtype=torch.int8)}, "expected uint8"),
    "codes of two dimensions": ({"int8": torch.zeros(8, 48, dtype=torch.uint8)}, "expected uint8 of one dimension"),
    "a byte too few": ({"int8": torch.zeros(383, dtype=torch.uint8)}, "expected 384 bytes"),
    "a byte too many": ({"int8": torch.zeros(385, dtype=torch.uint8)}, "expected 384 bytes"),
    "a shape of another dtype": ({"shape": torch.tensor([8, 3, 4, 4])}, "packed shape as int32"),
    "a shape of two dimensions": ({"shape": torch.ones(1, 4, dtype=torch.int32)}, "packed shape as int32"),
    "too many dimensions": (shape_of(8, 3, 16, *[1] * 6), "at most 8"),
    "a negative size": (shape_of(8, 3, -4, -4), "at most"),
    "a size of zero beside a huge one": (shape_of(0, 3, 2**31 - 1), f"at most {MAX_ELEMENTS}"),
    "a huge shape": (shape_of(2**31 - 1, 3, 2**31 - 1, 2**31 - 1), f"at most {MAX_ELEMENTS}"),
    "another shape": (shape_of(8, 3, 4, 5), "expected 480 bytes"),
    "scales of other channels": (shape_of(8, 4, 3, 4), r"shape \(2, 4\)"),
    "scales of another dtype": ({"scales": torch.zeros(2, 3).double()}, "scales as float32"),
    "scales of one dimension": ({"scales": torch.zeros(6)}, "scales as float32"),
    "a negative step": (scales(0.0, -1.0), "steps >= 0"),
    "a step of NaN": (scales(0.0, float("nan")), "finite range"),
    "an infinite step": (scales(0.0, float("inf")), "finite range"),
    "a lo of NaN": (scales(float("nan"), 1.0), "finite range"),
    "an infinite lo": (scales(float("-inf"), 1.0), "finite range"),
    "a range that overflows": (scales(0.0, 1e38), "finite range"),
    "a sum that overflows": (scales(3e38, 1e36), "finite range"),
    "damaged compression": (zstd(RIGHT[:-1]), "damaged"),
    "foreign compression": (zstd(b"\x80\x04K\x01."), "damaged"),
    "something behind the frame": (zstd(RIGHT + b"\0"), "damaged"),
    "two frames": (zstd(RIGHT + RIGHT), "damaged"),
    "a frame of another size": (zstd(compress_bytes(bytes(383))), "frame of 384 bytes"),
    "a frame of a larger size": (zstd(compress_bytes(bytes(2**20))), "at most 384 bytes"),
    "an empty frame": (zstd(b""), "damaged"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(change: dict[str, Tensor | None], reason: str) -> None:
    message = packed()
    entries = dict(message.packed) | change
    if "int8.zstd" in change:
        entries.pop("int8")
    entries = {name: tensor for name, tensor in entries.items() if tensor is not None}
    with pytest.raises(MessageError, match=reason) as caught:
        unpack_upload(replace(message, packed=entries))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("labels", [torch.ones(7), torch.ones(9), torch.tensor(1)], ids=["fewer", "more", "none"])
def test_labels_of_another_number(labels: Tensor) -> None:
    with pytest.raises(MessageError, match="as many labels as examples"):
        unpack_upload(replace(packed(), labels=labels))


def test_a_single_number_is_no_upload() -> None:
    message = packed()
    entries = {"fp16": torch.zeros(2, dtype=torch.uint8), **shape_of()}
    with pytest.raises(MessageError, match="as many labels as examples"):
        unpack_upload(replace(message, packed=entries))


@pytest.mark.parametrize("codec", ["fp16", "fp32"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_floats_that_are_not_finite(codec: str, value: float) -> None:
    dtype = {"fp16": torch.float16, "fp32": torch.float32}[codec]
    content = torch.tensor([1.0, value], dtype=dtype).view(torch.uint8)
    with pytest.raises(MessageError, match="finite"):
        unpack_tensor({codec: content, **shape_of(2)})


def test_what_is_too_small_to_be_believed_is_not_compressed() -> None:
    """A mebibyte of zeros would be a frame of some fifty bytes; receivers allow for `MAX_EXPANSION` bytes a byte."""
    zeros = torch.zeros(2**20, 1)
    assert len(compress_bytes(bytes(2**20))) * MAX_EXPANSION < 2**20
    message = pack_upload(upload(zeros), Smashed("int8", zstd=True), 0)
    assert "int8" in message.packed
    assert np.array_equal(unpack_upload(message).smashed, zeros)
    entries = zstd(compress_bytes(bytes(2**20))) | {"scales": torch.zeros(2, 1)} | shape_of(2**20, 1)
    with pytest.raises(MessageError, match="compressed frame"):
        unpack_tensor(entries)
