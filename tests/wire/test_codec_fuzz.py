"""Bytes from a stranger either are a message or are refused in one line; nothing else happens."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.errors import MessageError
from heron.wire import Message, decode, encode
from tests.wire.drawing import BODY, MESSAGES, assert_valid, blob, broadcast, one_of_each

EACH = pytest.mark.parametrize("message", one_of_each(), ids=lambda message: type(message).__name__)
# One tensor by name and a mapping of tensors: every other message has fields of these kinds.
QUICK = {"CutGradient", "ModelBroadcast"}
EACH_IN_TIERS = pytest.mark.parametrize(
    "message",
    [
        pytest.param(message, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for message in one_of_each()
        for name in [type(message).__name__]
    ],
)


def survives(data: bytes) -> bool:
    """Whether the bytes are a message; anything but a message or a refusal in one line fails the test."""
    try:
        message = decode(data)
    except MessageError as error:
        reason = str(error)
    else:
        assert_valid(message)
        return True
    assert "\n" not in reason
    assert len(reason) < 400
    return False


@EACH_IN_TIERS
def test_every_single_byte_mutation(message: Message) -> None:
    data = encode(message)
    outcomes = set()
    for position in range(len(data)):
        for value in range(256):
            outcomes.add(survives(data[:position] + bytes([value]) + data[position + 1 :]))
    assert outcomes == {True, False}


@EACH
def test_every_truncation_and_every_extension(message: Message) -> None:
    data = encode(message)
    for length in range(len(data)):
        assert not survives(data[:length])
    assert not survives(data + b"\0")
    assert not survives(b"\0" + data)
    assert not survives(data + data)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_garbage(data: bytes) -> None:
    survives(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_random_headers(header: Any, body: bytes) -> None:
    survives(blob(header, body))


@given(
    st.dictionaries(st.sampled_from(["model/a", "model/", "smashed", "b", "integers", "__metadata__"]), JSON),
    st.binary(max_size=40),
)
@settings(max_examples=200, deadline=None)
def test_random_tensor_entries(tensors: dict[str, Any], body: bytes) -> None:
    survives(broadcast(tensors, body=BODY + body))


@given(
    st.sampled_from(
        ["F64", "F32", "F16", "BF16", "I64", "I8", "U16", "U64", "C64", "F4", "F8_E4M3", "BOOL", "f32", ""]
    ),
    st.lists(st.integers(0, 4) | st.sampled_from([2**31, 2**62, 2**63, 2**64, -1]), max_size=4),
    st.integers(16, 40),
    st.integers(16, 40),
)
@settings(max_examples=300, deadline=None)
def test_plausible_tensor_entries(dtype: str, shape: list[int], start: int, stop: int) -> None:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}
    survives(broadcast({"model/a": entry}, body=BODY + bytes(range(max(stop - 16, 0)))))


@given(MESSAGES, st.data())
@settings(max_examples=150, deadline=None)
def test_random_splices(message: Message, data: st.DataObject) -> None:
    encoded = encode(message)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(encoded))] * 2)))
    survives(encoded[:start] + data.draw(st.binary(max_size=20)) + encoded[stop:])
