"""The small parts: records, streams, settings, what a client keeps, who a node is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from heron.client.progress import Progress
from heron.client.step import StepResult
from heron.errors import ConfigError, MessageError
from heron.flower import DeploymentSettings, make_client_app
from heron.flower.client_store import ClientStore
from heron.flower.log import warn
from heron.flower.records import (
    Identity,
    Parcel,
    PartRequest,
    Refusal,
    RoundRequest,
    is_record,
    read_record,
    write_record,
)
from heron.flower.stream import frame, num_pieces, piece, read_stream
from heron.wire import CutGradient, ModelBroadcast, encode
from heron.wire.terms import encode_terms
from tests.conformance.test_algorithms import federation
from tests.flower.grid import Node, task_identity  # noqa: F401 - a fixture
from tests.flower.parties import grid_of, node_of

PARCEL = Parcel(1, 2, 3, 0, 1, 5, True, False, True, 60, "", b"12345")
RECORDS = (
    PARCEL,
    RoundRequest("toml", 1, 2, 3, -1, 1024, "run", "", 0, 0, True, False, b"x"),
    PartRequest(1, 2, 3, 4),
    Refusal("lost", "y"),
    Identity(7, True),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_come_back_as_they_went(record: Any) -> None:
    written = write_record(record)
    assert is_record(written, type(record))
    assert read_record(written, type(record)) == record
    other = Identity if not isinstance(record, Identity) else Refusal
    with pytest.raises(MessageError, match=f"expected a {other.__name__}, found another record"):
        read_record(written, other)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
@given(data=st.data())
def test_a_record_with_anything_else_in_it_is_refused(record: Any, data: st.DataObject) -> None:
    name = type(record).__name__
    values = dict(write_record(record).config_records[name])
    key = data.draw(st.sampled_from([*values, "another"]))
    value = data.draw(
        st.none() | st.integers(-5, 5) | st.text(max_size=3) | st.booleans() | st.floats() | st.binary(max_size=3)
    )
    if key in values and type(value) is type(values[key]):
        return
    changed = {name_: each for name_, each in values.items() if name_ != key} | ({} if value is None else {key: value})
    records = write_record(record)
    records[name] = ConfigRecord(changed)
    if changed == values:
        return
    with pytest.raises(MessageError):
        read_record(records, type(record))


def test_texts_are_bounded_and_content_must_be_there() -> None:
    with pytest.raises(MessageError, match="at most 65536 characters"):
        read_record(write_record(Refusal("declined", "x" * 65537)), Refusal)
    records = write_record(PARCEL)
    del records["content"]
    with pytest.raises(MessageError, match="expected content, found none"):
        read_record(records, Parcel)
    records["content"] = ArrayRecord({"other": Array(dtype="uint8", shape=(1,), stype="bytes", data=b"x")})
    with pytest.raises(MessageError, match="expected content, found none"):
        read_record(records, Parcel)


@given(st.lists(st.integers(0, 5), max_size=5), st.integers(1, 400))
def test_a_stream_in_pieces_is_the_messages(sizes: list[int], piece_bytes: int) -> None:
    import tempfile
    from pathlib import Path

    messages = [ModelBroadcast(index, 0, {"x": torch.arange(size)}) for index, size in enumerate(sizes)]
    stream = b"".join(frame(message) for message in messages)
    count = num_pieces(len(stream), piece_bytes)
    pieces = [piece(stream, part, piece_bytes) for part in range(count)]
    assert all(len(each) == piece_bytes for each in pieces[:-1])
    assert len(pieces[-1]) <= piece_bytes
    assert not stream or pieces[-1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream"
        path.write_bytes(b"".join(pieces))
        assert [encode(message) for message in read_stream(path, bundle=False)] == [
            encode(message) for message in messages
        ]
        if stream:
            path.write_bytes(stream[:-1])
            with pytest.raises(MessageError):
                list(read_stream(path, bundle=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"round_timeout_s": 0.0}, "round_timeout_s > 0, found 0.0"),
        ({"round_timeout_s": float("nan")}, "round_timeout_s > 0"),
        ({"min_clients": -1}, "min_clients of at least 0, found -1"),
        ({"retries": -1}, "retries of at least 0"),
        ({"max_reply_bytes": 1023}, "max_reply_bytes of at least 1024, found 1023"),
        ({"max_parts": 0}, "max_parts of at least 1"),
        ({"retries": True}, "retries as int, found True"),
        ({"retries": "2"}, "retries as int, found '2'"),
        ({"round_timeout_s": "1"}, "round_timeout_s as float"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DeploymentSettings.read(changes)


def test_settings_are_read_from_among_other_keys() -> None:
    found = DeploymentSettings.read({"recipe": "digits", "round_timeout_s": 5, "min_clients": 2})
    assert found == DeploymentSettings(round_timeout_s=5.0, min_clients=2)


def test_a_line_of_the_log_is_one_line_whatever_a_stranger_writes(caplog) -> None:
    warn("client at fault", client=1, reason="x\ny\x1b[31mz" + "a" * 1000)
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith('heron: client at fault client=1 reason="x y?[31mzaaa')
    assert len(line) < 400
    assert line.isprintable()


def test_a_client_keeps_the_states_of_two_rounds() -> None:
    store = ClientStore(RecordDict())
    first, second, third = ({"x": torch.full((2,), float(number))} for number in range(3))
    assert store.kept_state(0) is None
    store.keep_state(0, first, previous=-1)
    store.keep_state(2, second, previous=0)
    assert np.array_equal(store.kept_state(0)["x"], first["x"])
    assert np.array_equal(store.kept_state(2)["x"], second["x"])
    store.keep_state(2, third, previous=0)  # once more
    assert np.array_equal(store.kept_state(2)["x"], third["x"])
    store.keep_state(4, {}, previous=2)
    assert store.kept_state(0) is None
    assert store.kept_state(4) is None
    assert store.kept_state(2) is not None


def test_a_place_in_a_round_comes_back_at_that_place_only() -> None:
    store = ClientStore(RecordDict())
    progress = Progress(
        [StepResult(torch.tensor(1.5)), StepResult(None, torch.tensor([2.0, 3.0])), StepResult(None)],
        [CutGradient(1, 2, 3, torch.ones(2))],
    )
    store.keep_place((1, 2, 4), {"client.weight": torch.ones(3)}, {"step": torch.tensor(1.0)}, progress)
    for place in ((1, 2, 3), (1, 1, 4), (0, 2, 4)):
        assert store.place(place) is None
    model, state, found = store.place((1, 2, 4))
    assert np.array_equal(model["client.weight"], torch.ones(3))
    assert np.array_equal(state["step"], torch.tensor(1.0))
    assert [result.loss is None for result in found.results] == [False, True, True]
    assert np.array_equal(found.results[1].projected_gradients, [2.0, 3.0])
    assert encode(found.answers[0]) == encode(progress.answers[0])
    store.forget(place=True)
    assert store.place((1, 2, 4)) is None


def test_pieces_of_a_reply_can_be_asked_for_again() -> None:
    records = RecordDict()
    store = ClientStore(records)
    assert store.part(PartRequest(1, 2, 3, 1)) is None
    whole = replace(PARCEL, num_parts=3)
    store.keep_unsent(whole, 2)
    for _ in range(2):
        assert store.part(PartRequest(1, 2, 3, 1)) == replace(whole, part=1, content=b"34")
        assert store.part(PartRequest(1, 2, 3, 2)) == replace(whole, part=2, content=b"5")
    for request in (PartRequest(1, 2, 3, 0), PartRequest(1, 2, 3, 3), PartRequest(1, 2, 2, 1), PartRequest(0, 2, 3, 1)):
        assert store.part(request) is None
    store.forget(unsent=True)
    assert not list(records)


def asked(node: Node, record: Any, kind: str = "train.round") -> RecordDict:
    message = Message(write_record(record), 100, kind)
    message.metadata.__dict__["_message_id"] = "1"
    return node.app(message, node.context).content


def request_of(name: str, client_id: int = 0, **changes: Any) -> RoundRequest:
    parties = federation(name)
    content = encode(parties.fed_server.broadcast(0, client_id))
    return replace(
        RoundRequest(
            encode_terms(parties.servers.terms).decode(),
            0,
            client_id,
            0,
            -1,
            2**20,
            "",
            "",
            0,
            0,
            False,
            False,
            content,
        ),
        **changes,
    )


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("heron", {"content": b"garbage"}, "cut short or foreign"),
        ("heron", {"content": encode(CutGradient(0, 0, 0, torch.ones(1)))}, "a broadcast to open a round"),
        ("heron", {"round_index": 1}, "the broadcast of the request's round"),
        ("heron", {"client_id": 1}, "a request for client 0, which this node is, found 1"),
        ("sflv2", {"step": 1}, "lost its place"),
        ("sflv2", {"content": b""}, "cut short or foreign"),
    ],
)
def test_a_client_says_what_is_wrong_with_a_request(name: str, changes: dict[str, Any], reason: str) -> None:
    node = node_of(grid_of(federation(name)), 0)
    refusal = read_record(asked(node, request_of(name, **changes)), Refusal)
    assert reason in refusal.reason
    assert (refusal.fault == "lost") == ("lost" in reason)


def test_a_coupled_round_goes_on_with_answers_only() -> None:
    node = node_of(grid_of(federation("sflv2")), 0)
    read_record(asked(node, request_of("sflv2")), Parcel)
    refusal = read_record(asked(node, request_of("sflv2", step=1)), Refusal)
    assert "expected an answer to an upload, found ModelBroadcast" in refusal.reason


def test_asking_again_gives_the_same_reply() -> None:
    for name in ("heron", "sflv2"):
        node = node_of(grid_of(federation(name)), 0)
        first, again = (read_record(asked(node, request_of(name)), Parcel) for _ in range(2))
        assert first == again


def test_a_rest_that_is_gone_is_told_as_lost() -> None:
    node = node_of(grid_of(federation("heron")), 0)
    parcel = read_record(asked(node, request_of("heron", max_reply_bytes=1024)), Parcel)
    assert parcel.num_parts == num_pieces(parcel.num_bytes, 1024) > 2
    second = read_record(asked(node, PartRequest(0, 0, 0, 1), "train.part"), Parcel)
    assert (second.part, len(second.content)) == (1, 1024)
    node.forget()
    assert read_record(asked(node, PartRequest(0, 0, 0, 2), "train.part"), Refusal).fault == "lost"


@pytest.mark.parametrize("config", [{}, {"partition-id": -1}, {"partition-id": "0"}, {"partition-id": True}])
def test_a_node_that_is_no_client_says_so(config: dict[str, Any]) -> None:
    app = make_client_app(lambda *_: pytest.fail("nothing is built to say who one is"))
    node = Node(app, Context(1, 1, config, RecordDict(), {}))
    message = Message(RecordDict(), 1, "query.identity")
    message.metadata.__dict__["_message_id"] = "1"
    refusal = read_record(node.app(message, node.context).content, Refusal)
    assert "expected partition-id as an integer from 0" in refusal.reason


def test_nothing_is_kept_where_nothing_outlives_a_round() -> None:
    """The context of a decoupled client that keeps no optimiser state stays empty."""
    parties = federation("heron", keep_state=False)
    node, request = (
        node_of(grid_of(parties), 0),
        request_of("heron", terms=encode_terms(parties.servers.terms).decode()),
    )
    assert not read_record(asked(node, request), Parcel).keeps_state
    assert not list(node.context.state)
