"""What is encoded comes back bit for bit, and owns its memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from heron.wire import ClientReply, Message, ModelBroadcast, SmashedData, decode, encode
from tests.wire.drawing import DTYPES, MAX_INTEGER, MESSAGES, bits, contents, filled, one_of_each


def sent(model: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    received = decode(encode(ModelBroadcast(0, 0, model)))
    assert isinstance(received, ModelBroadcast)
    assert all(type(array) is np.ndarray for array in received.model.values())
    return dict(received.model)


@given(MESSAGES)
@settings(max_examples=300, deadline=None)
def test_round_trip_bit_for_bit(message: Message) -> None:
    before = contents(message)
    assert contents(decode(encode(message))) == before
    assert contents(message) == before  # encoding leaves the message alone


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 3)], ids=str)
def test_every_dtype_and_degenerate_shape(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = filled(shape, dtype, 5)
    assert bits(sent({"a": tensor})["a"]) == bits(tensor)


def test_wire_format_version_1_is_frozen() -> None:
    """Written by hand from the format's description; other releases must go on reading it."""
    header = (
        b'{"__metadata__":{"heron":"{\\"type\\":\\"smashed_data\\",\\"version\\":1}"},'
        b'"integers":{"dtype":"I64","shape":[3],"data_offsets":[0,24]},'
        b'"labels":{"dtype":"I64","shape":[1],"data_offsets":[24,32]},'
        b'"smashed":{"dtype":"F32","shape":[1,2],"data_offsets":[32,40]}}'
    )
    header += b" " * (-len(header) % 8)
    body = np.array([4, 5, 6], "<i8").tobytes() + np.array([9], "<i8").tobytes() + np.array([1, 2], "<f4").tobytes()
    message = SmashedData(4, 5, 6, torch.tensor([[1.0, 2.0]]), torch.tensor([9]))
    assert encode(message) == len(header).to_bytes(8, "little") + header + body


def test_views_of_one_flat_buffer() -> None:
    flat = torch.arange(24.0)
    model = {"a": flat[:6].view(2, 3), "b": flat[6:14], "overlap": flat[4:10], "strided": flat[::5], "none": flat[3:3]}
    received = sent(model)
    assert {name: bits(tensor) for name, tensor in received.items()} == {n: bits(t) for n, t in model.items()}
    received["a"].fill(0)
    assert received["overlap"].tolist() == [4, 5, 6, 7, 8, 9]  # what was shared arrives apart


def test_tied_tensors_and_parameters() -> None:
    weight = nn.Parameter(torch.arange(4.0))
    received = sent({"embedding": weight, "head": weight, "transposed": weight.view(2, 2).T})
    assert received["embedding"].tolist() == received["head"].tolist() == [0, 1, 2, 3]
    assert received["transposed"].tolist() == [[0, 2], [1, 3]]


def test_lazily_negated_views_send_their_values() -> None:
    """The second one is contiguous, so that nothing but asking for it makes its values real."""
    several, single = torch.tensor([1 + 2j, 3 - 4j]).conj().imag, torch.tensor([1 + 2j]).conj().imag
    assert several.is_neg()
    assert single.is_neg()
    assert single.is_contiguous()
    received = sent({"several": several, "single": single})
    assert received["several"].tolist() == [-2, 4]
    assert received["single"].tolist() == [-2]


def test_order_and_names_of_tensors_survive() -> None:
    names = [
        "",
        "a/b",
        "a//",
        "integers",
        "model/x",
        "__metadata__",
        'quote"\\',
        "line\nbreak\x00\x1f\x7f",
        "é😀\u2028",
    ]
    model = {name: torch.tensor(float(index)) for index, name in enumerate(names)}
    assert {name: int(tensor) for name, tensor in sent(model).items()} == {n: i for i, n in enumerate(names)}


def test_extreme_integers() -> None:
    message = ClientReply(0, MAX_INTEGER, 0, MAX_INTEGER - 1, torch.tensor(float("nan")), {})
    assert contents(decode(encode(message))) == contents(message)


@pytest.mark.parametrize("message", one_of_each(), ids=lambda message: type(message).__name__)
def test_encoding_is_deterministic(message: Message) -> None:
    assert encode(message) == encode(message) == encode(decode(encode(message)))


def test_decoded_tensors_own_their_memory() -> None:
    tensor = torch.arange(1000, dtype=torch.int32)
    data = encode(ModelBroadcast(0, 0, {"a": tensor}))
    copy = bytes(bytearray(data))
    first, second = (decode(data).model["a"] for _ in range(2))
    start = np.frombuffer(data, np.uint8).ctypes.data
    assert not start <= first.ctypes.data < start + len(data)
    first.fill(0)
    assert data == copy
    del data
    assert np.array_equal(second, tensor)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_tensors_arrive_as_arrays() -> None:
    flat = torch.arange(6.0, device="cuda")
    received = sent({"a": flat[:2], "b": flat[1:].view(5, 1), "tied": flat[:2]})
    assert received["b"].tolist() == [[1], [2], [3], [4], [5]]
    assert received["tied"].tolist() == [0, 1]
