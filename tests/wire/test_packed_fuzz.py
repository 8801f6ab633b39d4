"""More than 10,000 spoiled payloads: what comes out is an upload, or a refusal in one line; memory stays bounded."""

import resource
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heron.errors import MessageError
from heron.wire import (
    CODECS,
    ClientReply,
    PackedData,
    SmashedData,
    decode,
    decode_bundle,
    encode,
    encode_bundle,
    pack_upload,
    unpack_tensor,
    unpack_upload,
)
from heron.wire.compression import compress_bytes, decompress_bytes
from heron.wire.groups import Smashed

NUM_EXAMPLES = 3_500
SMASHED = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(0)).relu()
UPLOADS = [
    pack_upload(SmashedData(1, 0, 2, SMASHED, torch.arange(4)), Smashed(codec, zstd), 7)
    for codec in CODECS
    for zstd in (False, True)
]
REPLY = ClientReply(1, 0, 40, 2, torch.tensor(0.5), {"weight": torch.ones(3)})
MESSAGES = [encode(upload) for upload in UPLOADS]
BUNDLES = [encode_bundle([upload, upload, REPLY]) for upload in UPLOADS]


@pytest.fixture(autouse=True, scope="module")
def bounded_memory() -> Iterator[None]:
    """The largest memory that the process ever had does not grow by much, whatever the payloads ask for."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 2**18


def survives(attempt: Callable[[], list[Any]]) -> None:
    """What is accepted is an upload of finite numbers, of bounded size; anything else is refused in one line."""
    accepted, reason = [], ""
    try:
        accepted = attempt()
    except MessageError as error:
        reason = str(error)
    assert "\n" not in reason
    assert len(reason) < 400
    for received in accepted:
        if isinstance(received, SmashedData):
            assert received.smashed.dtype.itemsize == 4
            assert bool(np.isfinite(received.smashed).all())
            assert received.smashed.size < 2**22
            assert len(received.labels) == len(received.smashed)


def opened(message: Any) -> Any:
    return unpack_upload(message) if isinstance(message, PackedData) else message


@st.composite
def spoiled(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A payload with a few bytes changed, cut out, put in, moved, or taken from another payload."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        start, stop = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        how = draw(st.sampled_from(["change", "change", "change", "cut", "insert", "splice", "end"]))
        if how == "change" and start < len(content):
            content[start] = draw(st.integers(0, 255))
        elif how == "cut":
            del content[start : min(stop, start + 40)]
        elif how == "insert":
            content[start:start] = draw(st.binary(max_size=12))
        elif how == "splice":
            content[start : start + 20] = draw(st.sampled_from(originals))[stop : stop + 20]
        elif how == "end":
            del content[stop:]
    return bytes(content)


@pytest.mark.slow
@given(spoiled(MESSAGES))
@settings(max_examples=NUM_EXAMPLES, deadline=None)
def test_spoiled_messages(data: bytes) -> None:
    survives(lambda: [opened(decode(data))])


@pytest.mark.slow
@given(spoiled(BUNDLES), st.booleans())
@settings(max_examples=NUM_EXAMPLES, deadline=None)
def test_spoiled_bundles(data: bytes, inside: bool) -> None:
    if inside:  # the frame is sound, what it holds is not
        frame = compress_bytes(data[8:])
        data = b"HBN1" + len(frame).to_bytes(4, "little") + frame + data[-40:]
    survives(lambda: [opened(message) for message in decode_bundle(data)])


SIZES = st.lists(st.integers(-1, 6) | st.sampled_from([2**16, 2**30, 2**31 - 1]), max_size=9)
ENTRIES: dict[str, st.SearchStrategy[Tensor]] = {
    "shape": SIZES.map(lambda sizes: torch.tensor(sizes, dtype=torch.int32)),
    "scales": st.lists(
        st.floats(width=32) | st.sampled_from([3e38, -3e38, -1.0, float("nan")]), min_size=4, max_size=4
    ).map(lambda values: torch.tensor(values).view(2, 2)),
    "seed": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2).map(torch.tensor),
}
CODES = st.binary(max_size=80).map(lambda content: torch.tensor(list(content), dtype=torch.uint8))
FRAMES = [
    bytes(upload.packed[name].tolist()) for upload in UPLOADS for name in upload.packed if name.endswith(".zstd")
] + [compress_bytes(bytes(size)) for size in (0, 1, 288, 2**16, 2**24)]


@pytest.mark.slow
@given(
    st.sampled_from(UPLOADS),
    st.fixed_dictionaries({}, optional=ENTRIES),
    st.none() | CODES | spoiled(FRAMES).map(lambda content: torch.tensor(list(content), dtype=torch.uint8)),
    st.sampled_from([codec + suffix for codec in CODECS for suffix in ("", ".zstd")]),
)
@settings(max_examples=NUM_EXAMPLES, deadline=None)
def test_spoiled_entries(upload: PackedData, entries: dict[str, Tensor], codes: Tensor | None, name: str) -> None:
    """Sound messages that hold the wrong tensors."""
    packed = dict(upload.packed) | entries
    if codes is not None:
        packed = {key: packed[key] for key in ("shape", "scales", "seed") if key in packed} | {name: codes}

    def attempt() -> list[SmashedData]:
        smashed = unpack_tensor(packed)
        return [SmashedData(0, 0, 0, smashed, torch.zeros(len(smashed)))] if smashed.ndim else []

    survives(attempt)


def test_a_bomb_is_not_opened() -> None:
    """Codes and shape agree on a gibibyte that would come out of a frame of some kilobytes."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=2**28)
    frame = b"".join(compressor.compress(bytes(2**20)) for _ in range(2**8)) + compressor.flush()
    assert len(frame) < 2**16
    packed = {
        "fp32.zstd": torch.frombuffer(bytearray(frame), dtype=torch.uint8),
        "shape": torch.tensor([2**26, 1], dtype=torch.int32),
    }
    tracemalloc.start()
    with pytest.raises(MessageError, match="compressed frame of 268435456 bytes"):
        unpack_tensor(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@given(st.binary(max_size=60), st.integers(0, 2**40))
@settings(max_examples=500, deadline=None)
def test_random_frames(frame: bytes, num_bytes: int) -> None:
    for content in (frame, b"\x28\xb5\x2f\xfd" + frame):  # with the magic number of a frame
        opened_frames: list[bytes] = []
        survives(lambda content=content, found=opened_frames: found.append(decompress_bytes(content, num_bytes)) or [])
        assert all(len(found) == num_bytes for found in opened_frames)
