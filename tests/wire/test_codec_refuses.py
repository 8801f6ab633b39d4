"""What is refused, on either side, and in which words."""

import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from heron.errors import MessageError
from heron.wire import ClientReply, Message, ModelBroadcast, SmashedData, decode, encode
from tests.wire.drawing import BODY, TWO_INTEGERS, assert_valid, blob, broadcast, header_of, one_of_each

EACH = pytest.mark.parametrize("message", one_of_each(), ids=lambda message: type(message).__name__)


def refused(data: bytes, **options: Any) -> str:
    with pytest.raises(MessageError) as caught:
        decode(data, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


def edited(message: Message, edit: Callable[[dict[str, Any]], Any]) -> bytes:
    header, body = header_of(encode(message))
    edit(header)
    return blob(header, body)


def test_the_hand_written_broadcast_is_accepted() -> None:
    message = decode(broadcast())
    assert (type(message), message.round_index, message.client_id) == (ModelBroadcast, 1, 2)


def entry(dtype: str, shape: list[int], num_bytes: int) -> dict[str, Any]:
    """A tensor in a header, right after the integers."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [16, 16 + num_bytes]}


FOREIGN = {
    "nothing": (b"", "0 bytes that are cut short or foreign"),
    "a length beyond the end": (b"\xff" * 8 + b"{}", "cut short or foreign"),
    "no JSON": (blob(b"\x80\x04K\x01."), "foreign bytes"),
    "UTF-16": (blob(json.dumps({"__metadata__": {"heron": ""}}).encode("utf-16-le")), "without a JSON header"),
    "a list": (blob([1]), "foreign bytes"),
    "deep JSON": (blob(b"[" * 100_000), "foreign bytes"),
    "deep JSON in the metadata": (broadcast(version=json.loads("[" * 500 + "]" * 500)), "found 'heron: "),
    "no metadata": (blob({"integers": TWO_INTEGERS}, BODY), "foreign bytes"),
    "metadata as a list of one": (blob({"__metadata__": [True]}), "one metadata entry"),
    "metadata as text": (blob({"__metadata__": "x"}), "one metadata entry"),
    "metadata without an entry": (blob({"__metadata__": {}}), "one metadata entry"),
    "foreign metadata": (blob({"__metadata__": {"format": "pt"}}), "found 'format: pt'"),
    "metadata that is no text": (blob({"__metadata__": {"heron": ["x"]}}), "found 'list'"),
    "our text under another key": (
        blob({"__metadata__": {"other": '{"type":"model_broadcast","version":1}'}, "integers": TWO_INTEGERS}, BODY),
        "found 'other: ",
    ),
    "another version": (broadcast(version=2), 'found.*"version":2'),
    "a version of another type": (broadcast(version=True), 'found.*"version":true'),
    "an unknown type": (broadcast(tag="jacobian"), 'found.*"type":"jacobian"'),
    "a very long type": (broadcast(tag="m\n" * 100_000), "expected one of"),
    "an unknown dtype": (broadcast({"model/a": entry("F8_E4M3", [4], 4)}, body=BODY + bytes(4)), "'model/a'.*F8_E4M3"),
    "an extra tensor": (broadcast({"smashed": entry("U8", [2], 2)}, body=BODY + bytes(2)), "found 'smashed'"),
    "an extra mapping": (broadcast({"n\n/" * 9999: entry("U8", [2], 2)}, body=BODY + bytes(2)), "found 'n /n"),
    "a mapping without an entry": (broadcast({"model": entry("U8", [2], 2)}, body=BODY + bytes(2)), "found 'model'"),
    "an entry of the integers": (broadcast({"integers/a": entry("U8", [2], 2)}, body=BODY + bytes(2)), "found 'int"),
    "bools of another byte": (broadcast({"model/a": entry("BOOL", [2], 2)}, body=BODY + b"\1\2"), "'model/a'.*boolean"),
    "a shape that no array has": (broadcast({"model/a": entry("F32", [2**63, 0], 0)}), "damaged bytes"),
    "a shape that overflows": (broadcast({"model/a": entry("F32", [0, 2**40, 2**40], 0)}), "damaged bytes"),
    "a dtype of half a byte": (broadcast({"model/a": entry("F4", [8], 4)}, body=BODY + bytes(4)), "'model/a'.*F4"),
    "a gap": (broadcast(body=BODY + bytes(1)), "damaged bytes"),
}


@pytest.mark.parametrize(("data", "reason"), FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_bytes(data: bytes, reason: str) -> None:
    assert re.search(reason, refused(data))


@EACH
def test_a_second_metadata_entry(message: Message) -> None:
    assert "one metadata entry" in refused(edited(message, lambda header: header["__metadata__"].update(extra="1")))


def test_an_entry_of_a_single_tensor() -> None:
    message = SmashedData(0, 0, 0, torch.ones(1), torch.ones(1))

    def rename(header: dict[str, Any]) -> None:
        header["smashed/a"] = header.pop("smashed")

    assert "expected no such tensor, found 'smashed/a'" in refused(edited(message, rename))


@EACH
def test_missing_integers(message: Message) -> None:
    # Renamed, so that the bytes still add up.
    refused(edited(message, lambda header: header.update(others=header.pop("integers"))))


@pytest.mark.parametrize(
    ("field", "index"),
    [("train_loss", 5), ("gradient", 3), ("smashed", 1), ("labels", 1), ("loss", 4), ("projected_gradients", 6)],
)
def test_missing_tensors(field: str, index: int) -> None:
    message = one_of_each()[index]
    header, body = header_of(encode(message))
    removed = header.pop(field)["data_offsets"]
    for name in set(header) - {"__metadata__"}:
        offsets = header[name]["data_offsets"]
        header[name]["data_offsets"] = [
            offset - (removed[1] - removed[0]) * (offset >= removed[1]) for offset in offsets
        ]
    reason = refused(blob(header, body[: removed[0]] + body[removed[1] :]))
    assert f"expected tensor {field!r}, found none" in reason


@pytest.mark.parametrize("dtype", ["F64", "BOOL"])
def test_integers_of_another_dtype(dtype: str) -> None:
    other = {"dtype": dtype, "shape": [2 if dtype == "F64" else 16], "data_offsets": [0, 16]}
    assert "2 int64 integers" in refused(broadcast({"integers": other}, body=bytes(16)))


@pytest.mark.parametrize("shape", [[1], [3], [2, 1], []], ids=str)
def test_integers_of_another_shape(shape: list[int]) -> None:
    count = int(np.prod(shape, dtype=int))
    other = {"dtype": "I64", "shape": shape, "data_offsets": [0, 8 * count]}
    assert "2 int64 integers" in refused(broadcast({"integers": other}, body=bytes(8 * count)))


@pytest.mark.parametrize("position", [0, 1])
def test_negative_integers(position: int) -> None:
    values = np.array([1, 2], "<i8")
    values[position] = -3
    assert "-3" in refused(broadcast(body=values.tobytes()))


@pytest.mark.parametrize(("dtype", "shape"), [("I32", []), ("F32", [1]), ("BF16", [2])], ids=str)
def test_a_train_loss_of_another_kind(dtype: str, shape: list[int]) -> None:
    message = ClientReply(0, 0, 1, 1, torch.tensor(0.5), {})
    reason = refused(edited(message, lambda header: header["train_loss"].update(dtype=dtype, shape=shape)))
    assert "expected train_loss as one float32" in reason


def test_oversize_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(one_of_each()[0])
    assert_valid(decode(data, max_bytes=len(data)))
    monkeypatch.setattr("heron.wire.codec.load_arrays", lambda data: pytest.fail("read"))
    assert refused(data, max_bytes=len(data) - 1).endswith(f"at most {len(data) - 1} bytes, found {len(data)}")
    refused(data, max_bytes=0)


class Payload:
    """Unpickling it leaves a trace."""

    opened = False

    @staticmethod
    def open() -> None:
        Payload.opened = True

    def __reduce__(self) -> tuple[Any, ...]:
        return Payload.open, ()


def test_nothing_is_unpickled() -> None:
    pickled = pickle.dumps(Payload())
    for data in (pickled, blob(pickled), broadcast(body=pickled), broadcast(tag=pickled.decode("latin-1"))):
        refused(data)
    assert not Payload.opened
    pickle.loads(pickled)
    assert Payload.opened  # the payload does work


@pytest.mark.parametrize("value", [-1, 2**63, 1.0, None, "1"], ids=repr)
def test_integers_that_are_not_sent(value: Any) -> None:
    with pytest.raises(MessageError, match=r"expected client_id as an int from 0"):
        encode(ModelBroadcast(0, value, {}))


@pytest.mark.parametrize("loss", [torch.tensor(0.5).double(), torch.tensor([0.5]), torch.tensor(1)], ids=repr)
def test_losses_that_are_not_sent(loss: torch.Tensor) -> None:
    with pytest.raises(MessageError, match="expected train_loss as one float32"):
        encode(ClientReply(0, 0, 1, 1, loss, {}))


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2, dtype=torch.complex64), torch.ones(2).to_sparse(), torch.ones(2, device="meta")],
    ids=["complex", "sparse", "meta"],
)
def test_tensors_that_are_not_sent(tensor: torch.Tensor) -> None:
    with pytest.raises(MessageError, match=r"'labels'.*convert it"):
        encode(SmashedData(0, 0, 0, torch.ones(1), tensor))


def test_names_that_are_not_sent() -> None:
    with pytest.raises(MessageError, match="Unicode"):
        encode(ModelBroadcast(0, 0, {"\ud800": torch.ones(1)}))


def test_what_is_no_message_is_not_sent() -> None:
    with pytest.raises(MessageError, match=r"expected one of ModelBroadcast, .*found dict"):
        encode({})  # type: ignore[arg-type]
