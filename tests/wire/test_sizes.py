"""The bytes that are counted are the bytes that are sent."""

import itertools

import pytest
import torch
from hypothesis import given, settings

from heron.errors import MessageError
from heron.wire import (
    ClientReply,
    LossAnswer,
    Message,
    ModelBroadcast,
    ProbeData,
    ScalarReply,
    SmashedData,
    encode,
    encoded_sizes,
)
from heron.wire.framing import message_bytes
from tests.wire.drawing import DTYPES, MAX_INTEGER, MESSAGES


@given(MESSAGES)
@settings(max_examples=300, deadline=None)
def test_sizes_are_exact(message: Message) -> None:
    assert sum(encoded_sizes(message).values()) == len(encode(message))


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(DTYPES, 2)), ids=str)
def test_sizes_are_exact_for_every_order_of_dtypes(first: torch.dtype, second: torch.dtype) -> None:
    """Whichever tensor comes first decides how many digits the offsets have; eight sizes defeat the padding."""
    for count in (1, 10, 90, 970, 985, 9_990, 99_990):
        for extra in range(8):
            model = {"a" * (1 + extra): torch.zeros(1, dtype=first), "b": torch.zeros(count, dtype=second)}
            message = ModelBroadcast(0, 0, model)
            assert sum(encoded_sizes(message).values()) == len(encode(message)), (count, extra)


def test_kinds() -> None:
    model = {"a": torch.zeros(2, 3), "b": torch.zeros(5, dtype=torch.int8)}
    reply = encoded_sizes(ClientReply(0, 0, 1, 1, torch.tensor(0.0), model))
    assert {kind: size for kind, size in reply.items() if kind != "framing"} == {"scalars": 4, "model": 4 * 6 + 5}
    smashed = encoded_sizes(SmashedData(0, 0, 0, torch.zeros(2, 7, dtype=torch.float16), torch.zeros(2).long()))
    assert {kind: size for kind, size in smashed.items() if kind != "framing"} == {"smashed": 28, "labels": 16}
    probe = encoded_sizes(ProbeData(0, 0, 0, 3, torch.zeros(2, 7, dtype=torch.float16), torch.zeros(2).long()))
    assert {kind: size for kind, size in probe.items() if kind != "framing"} == {"smashed": 28, "labels": 16}
    scalars = encoded_sizes(ScalarReply(0, 0, 1, 3, torch.tensor(0.0), torch.zeros(6), model))
    assert {kind: size for kind, size in scalars.items() if kind != "framing"} == {"scalars": 4 + 24, "model": 29}
    assert encoded_sizes(LossAnswer(0, 0, 0, torch.tensor(0.0)))["scalars"] == 4
    assert encoded_sizes(ModelBroadcast(0, 0, {})).keys() == {"framing"}


def test_framing_by_hand() -> None:
    header = (
        r'{"__metadata__":{"heron":"{\"type\":\"model_broadcast\",\"version\":1}"},'
        r'"integers":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}'
    )
    padded = -(-len(header) // 8) * 8
    assert encoded_sizes(ModelBroadcast(0, 0, {})) == {"framing": 8 + padded + 2 * 8}


def test_size_does_not_depend_on_values() -> None:
    small = ClientReply(0, 0, 0, 0, torch.tensor(0.0), {"a": torch.zeros(3)})
    large = ClientReply(*[MAX_INTEGER] * 4, torch.tensor(1e38), {"a": torch.full((3,), -1e-38)})
    assert len(encode(small)) == len(encode(large))
    assert encoded_sizes(small) == encoded_sizes(large)


def test_counting_needs_no_data() -> None:
    """Tensors of the meta device have none: a tebibyte is counted without being there."""
    message = SmashedData(0, 0, 0, torch.empty(2**38, device="meta"), torch.empty(2**38, 0, device="meta"))
    sizes = encoded_sizes(message)
    assert sizes["smashed"] == 2**40
    assert sizes["labels"] == 0


def test_header_is_counted_once_per_shape() -> None:
    def message(value: float) -> ModelBroadcast:
        return ModelBroadcast(int(value), 0, {"only in this test": torch.full((3, 1), value)})

    encoded_sizes(message(0.0))
    before = message_bytes.cache_info()
    encoded_sizes(message(1.0))
    after = message_bytes.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.uint16, torch.float8_e4m3fn], ids=str)
def test_a_dtype_that_does_not_travel_is_not_counted(dtype: torch.dtype) -> None:
    with pytest.raises(MessageError, match=f"'model/a'.*{str(dtype)[6:]}"):
        encoded_sizes(ModelBroadcast(0, 0, {"a": torch.empty(2, dtype=dtype)}))
