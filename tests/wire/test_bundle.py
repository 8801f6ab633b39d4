"""Several messages as one: bit for bit, to the byte, and refused like single ones."""

import tracemalloc
from itertools import pairwise

import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.errors import MessageError
from heron.wire import (
    ClientReply,
    Message,
    ModelBroadcast,
    SmashedData,
    decode,
    decode_bundle,
    encode,
    encode_bundle,
    encoded_sizes,
    pack_upload,
)
from heron.wire.bundle import Bundle
from heron.wire.compression import compress_bytes, decompress_bytes, told_bytes
from heron.wire.groups import Smashed
from tests.wire.drawing import MESSAGES, contents, one_of_each


def opened(data: bytes) -> tuple[bytes, bytes]:
    """The heads of a bundle, and the data behind them."""
    stop = 8 + int.from_bytes(data[4:8], "little")
    frame = data[8:stop]
    return decompress_bytes(frame, told_bytes(frame, 2**20), max_expansion=None), data[stop:]


def bundle(heads: bytes, data: bytes = b"") -> bytes:
    frame = compress_bytes(heads)
    return b"HBN1" + len(frame).to_bytes(4, "little") + frame + data


@given(st.lists(MESSAGES, max_size=4))
@settings(max_examples=150, deadline=None)
def test_messages_come_back_bit_for_bit(messages: list[Message]) -> None:
    data = encode_bundle(messages)
    found = list(decode_bundle(data, max_bytes=len(data)))
    assert [contents(message) for message in found] == [contents(message) for message in messages]


@given(st.lists(MESSAGES, max_size=4))
@settings(max_examples=150, deadline=None)
def test_bytes_by_kind_are_those_of_the_messages(messages: list[Message]) -> None:
    made = Bundle()
    expected: dict[str, int] = {}
    for message in messages:
        made.add(message)
        for kind, size in encoded_sizes(message).items():
            if kind != "framing":
                expected[kind] = expected.get(kind, 0) + size
    data, sizes = made.close()
    assert data == encode_bundle(messages)
    assert sum(sizes.values()) == len(data)
    assert {kind: size for kind, size in sizes.items() if kind != "framing"} == expected


def test_the_layout_by_hand() -> None:
    """Lengths, head and integers of each message in the frame; behind it what follows the integers."""
    messages = one_of_each()[:2]
    heads, data = opened(encode_bundle(messages))
    expected_heads, expected_data = b"", b""
    for message, num_integers in zip(messages, (2, 3), strict=True):
        content = encode(message)
        stop = 8 + int.from_bytes(content[:8], "little") + 8 * num_integers
        expected_heads += stop.to_bytes(4, "little") + (len(content) - stop).to_bytes(8, "little") + content[:stop]
        expected_data += content[stop:]
    assert (heads, data) == (expected_heads, expected_data)


def test_a_message_costs_little_framing() -> None:
    def uploads(count: int) -> list[Message]:
        smashed = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
        return [
            pack_upload(SmashedData(3, 1, step, smashed, torch.arange(32)), Smashed("int4"), step)
            for step in range(count)
        ]

    def framing(count: int) -> int:
        made = Bundle()
        for message in uploads(count):
            made.add(message)
        return made.close()[1]["framing"]

    alone = encoded_sizes(uploads(1)[0])["framing"]
    assert alone > 400
    assert framing(1) < alone
    assert all(later - earlier < 8 for earlier, later in pairwise(framing(count) for count in (10, 11, 12, 13)))


def test_what_is_added_is_a_copy() -> None:
    weight, made = torch.ones(2), Bundle()
    made.add(ModelBroadcast(0, 0, {"weight": weight}))
    weight.zero_()
    (found,) = decode_bundle(made.close()[0])
    assert isinstance(found, ModelBroadcast)
    assert found.model["weight"].tolist() == [1, 1]


def test_a_bundle_is_no_message_and_the_other_way_round() -> None:
    for message in one_of_each():
        with pytest.raises(MessageError, match="cut short or foreign"):
            decode(encode_bundle([message]))
        with pytest.raises(MessageError, match="cut short or foreign"):
            decode_bundle(encode(message))


def refused(data: bytes, **options: int) -> str:
    with pytest.raises(MessageError) as caught:
        list(decode_bundle(data, **options))
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def test_every_truncation_and_extension() -> None:
    data = encode_bundle([one_of_each()[1], one_of_each()[5]])
    for length in range(len(data)):
        refused(data[:length])
    assert f"found {len(data) + 1}" in refused(data + b"\0")
    refused(b"\0" + data)
    refused(data + data)


def test_oversize_is_refused_before_it_is_read() -> None:
    data = encode_bundle(one_of_each())
    assert refused(data, max_bytes=len(data) - 1).endswith(f"at most {len(data) - 1} bytes, found {len(data)}")


def test_lengths_that_lie() -> None:
    heads, data = opened(encode_bundle([one_of_each()[1]]))
    assert list(decode_bundle(bundle(heads, data)))
    assert "end" in refused(bundle(heads[:11], data))
    assert "end" in refused(bundle(heads[:-1], data))
    assert "end" in refused(bundle(b"\xff" * 4 + heads[4:], data))
    huge = heads[:4] + b"\xff" * 8 + heads[12:]
    assert "expected a bundle of" in refused(bundle(huge, data))
    for head_bytes in range(heads[0]):  # the rest of the head would be another message's lengths
        refused(bundle(bytes([head_bytes]) + heads[1:], data))
    assert list(decode_bundle(bundle(b""))) == []


def test_a_bomb_is_not_opened() -> None:
    """A gibibyte of heads in a frame of some kilobytes; what tells no size is refused as well."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=2**30)
    frame = b"".join(compressor.compress(bytes(2**24)) for _ in range(64)) + compressor.flush()
    bomb = b"HBN1" + len(frame).to_bytes(4, "little") + frame
    assert len(bomb) < 2**18
    untold = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(12))
    tracemalloc.start()
    assert "at most" in refused(bomb)
    assert "found one of -1" in refused(b"HBN1" + len(untold).to_bytes(4, "little") + untold)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_too_many_headers_are_not_sent() -> None:
    made = Bundle()
    names = {"n" * 2000 + str(index): torch.ones(()) for index in range(4000)}
    for _ in range(3):
        made.add(ClientReply(0, 0, 1, 1, torch.tensor(0.5), names))
    with pytest.raises(MessageError, match=r"link\.bundle=false"):
        made.close()
