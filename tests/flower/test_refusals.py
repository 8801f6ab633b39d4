"""A client that sends anything wrong is refused by name and counted; the round is that of the others, bit for bit."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from flwr.app import ConfigRecord, Error, Message, RecordDict

from heron.flower.records import Parcel, read_record, write_record
from heron.wire import ModelBroadcast, ProbeData, Reply, SmashedData
from tests.conformance.test_algorithms import assert_equal, federation, tensors_of
from tests.flower.grid import task_identity  # noqa: F401 - a fixture
from tests.flower.parties import flower, grid_of, node_of
from tests.flower.tampering import Edit, each, edited, messages_of, stream_of, tamper, with_stream

NAN = float("nan")


def with_value(tensor: torch.Tensor, value: float) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(-1)[0] = value
    return changed


def with_model(change) -> Any:
    return lambda reply: change({name: tensor.clone() for name, tensor in reply.model.items()})


def first_float(model: dict[str, torch.Tensor], make) -> dict[str, torch.Tensor]:
    name = next(name for name, tensor in model.items() if tensor.dtype.is_floating_point)
    return model | {name: make(model[name])}


ANY: dict[str, tuple[str, Edit]] = {
    "garbage": ("undecodable", lambda parcel: with_stream(parcel, b"\x07" * 500)),
    "pickle": ("undecodable", lambda parcel: with_stream(parcel, b"\x80\x04\x95" + bytes(200))),
    "cut short": ("undecodable", lambda parcel: with_stream(parcel, parcel.content[:-3])),
    "length that runs over": ("undecodable", lambda parcel: with_stream(parcel, b"\xff" * 8 + parcel.content)),
    "a byte too many": ("undecodable", lambda parcel: with_stream(parcel, parcel.content + b"\x00")),
    "another record": ("undecodable", lambda parcel: RecordDict({"x": ConfigRecord({"round_index": 0})})),
    "no content": ("undecodable", lambda parcel: RecordDict({"Parcel": ConfigRecord({"round_index": 0})})),
    "text for a number": ("undecodable", lambda parcel: replace(parcel, num_bytes="1")),
    "true for a number": ("undecodable", lambda parcel: replace(parcel, num_parts=True)),
    "crash": ("failed", lambda parcel: Error(8, "killed")),
    "exception": ("failed", lambda parcel: Error(2, "secrets")),
    "silence": ("late", lambda parcel: None),
    "another round": ("stale", lambda parcel: replace(parcel, round_index=parcel.round_index + 1)),
    "another client": ("stale", lambda parcel: replace(parcel, client_id=0)),
    "another step": ("stale", lambda parcel: replace(parcel, step=parcel.step + 1)),
    "another piece": ("stale", lambda parcel: replace(parcel, part=1)),
    "a hundred times what is declared": ("malformed", lambda parcel: replace(parcel, content=parcel.content * 100)),
    "more than agreed": ("too_large", lambda parcel: replace(parcel, content=bytes(2**20 + 1))),
    "too many pieces": ("too_large", lambda parcel: replace(parcel, num_parts=65, num_bytes=65 * 2**20)),
    "pieces that do not add up": ("malformed", lambda parcel: replace(parcel, num_parts=2)),
    "negative size": ("malformed", lambda parcel: replace(parcel, num_bytes=-5)),
    "negative examples": ("malformed", lambda parcel: replace(parcel, num_examples=-1)),
    "nothing": ("malformed", lambda parcel: with_stream(parcel, b"")),
    "a broadcast": ("malformed", edited(lambda _: [ModelBroadcast(0, 1, {})])),
    "every message twice": ("malformed", edited(lambda messages: [each for each in messages for _ in range(2)])),
    "messages of another client": ("stale", edited(lambda messages: [replace(each, client_id=0) for each in messages])),
    "messages of another round": (
        "stale",
        edited(lambda messages: [replace(each, round_index=5) for each in messages]),
    ),
    "smashed NaN": ("not_finite", each(SmashedData, smashed=lambda it: with_value(it.smashed, NAN))),
    "smashed infinity": ("not_finite", each(SmashedData, smashed=lambda it: with_value(it.smashed, -float("inf")))),
    "smashed float64": ("malformed", each(SmashedData, smashed=lambda it: it.smashed.double())),
    "smashed shape": ("malformed", each(SmashedData, smashed=lambda it: it.smashed.flatten(2))),
    "smashed size": ("malformed", each(SmashedData, smashed=lambda it: it.smashed[..., :-1])),
    "fewer labels": ("malformed", each(SmashedData, labels=lambda it: it.labels[:-1])),
    "labels int32": ("malformed", each(SmashedData, labels=lambda it: it.labels.int())),
    "labels out of range": ("malformed", each(SmashedData, labels=lambda it: with_value(it.labels, 4))),
    "labels negative": ("malformed", each(SmashedData, labels=lambda it: with_value(it.labels, -1))),
    "empty batch": ("malformed", each(SmashedData, smashed=lambda it: it.smashed[:0], labels=lambda it: it.labels[:0])),
    "batch too large": (
        "malformed",
        each(SmashedData, smashed=lambda it: it.smashed.repeat(9, 1, 1, 1), labels=lambda it: it.labels.repeat(9)),
    ),
    "steps out of order": ("malformed", each(SmashedData, local_step=lambda it: it.local_step + 1)),
    "enormous": ("not_finite", each(SmashedData, smashed=lambda it: torch.full_like(it.smashed, 3e38))),
    "model NaN": ("not_finite", each(Reply, model=with_model(lambda m: first_float(m, lambda t: with_value(t, NAN))))),
    "model float64": ("malformed", each(Reply, model=with_model(lambda m: first_float(m, lambda t: t.double())))),
    "model shape": ("malformed", each(Reply, model=with_model(lambda m: first_float(m, lambda t: t[None])))),
    "model with another tensor": ("malformed", each(Reply, model=with_model(lambda m: m | {"x": torch.zeros(1)}))),
    "model without a tensor": ("malformed", each(Reply, model=with_model(lambda m: dict(list(m.items())[1:])))),
    "no examples": ("malformed", each(Reply, num_examples=lambda it: 0)),
    "more examples": ("malformed", each(Reply, num_examples=lambda it: it.num_examples + 50)),
    "fewer steps": ("malformed", each(Reply, num_steps=lambda it: it.num_steps - 1)),
    "infinite loss": ("not_finite", each(Reply, train_loss=lambda it: torch.tensor(float("inf")))),
}
DECOUPLED = {
    "loss NaN": ("not_finite", each(Reply, train_loss=lambda it: torch.tensor(NAN))),
    "no reply": ("malformed", edited(lambda messages: messages[:-1])),
    "an upload less": ("malformed", edited(lambda messages: messages[1:])),
    "the last upload missing": ("malformed", edited(lambda messages: [*messages[:-2], messages[-1]])),
    "an upload more": ("malformed", edited(lambda messages: [*messages[:-1], messages[0], messages[-1]])),
    "reply first": ("malformed", edited(lambda messages: [messages[-1], *messages[:-1]])),
    "probes": (
        "malformed",
        edited(lambda messages: [_as_probe(message) for message in messages]),
    ),
    "not over": ("malformed", lambda parcel: replace(parcel, finished=False)),
    "other examples declared": ("malformed", lambda parcel: replace(parcel, num_examples=parcel.num_examples + 1)),
}
COUPLED = {
    "over at once": ("malformed", lambda parcel: replace(parcel, finished=True)),
    "never over": ("malformed", lambda parcel: replace(parcel, finished=False)),
}
CASES = [
    *(("heron", case, *found) for case, found in (ANY | DECOUPLED).items()),
    *(("sflv2", case, *found) for case, found in (ANY | COUPLED).items()),
    *(("hosl", case, *ANY[case]) for case in ("smashed NaN", "steps out of order", "enormous", "silence")),
    *(("sflv1", case, *ANY[case]) for case in ("fewer steps", "enormous", "model NaN")),
    *(("fsl_sage", case, *ANY[case]) for case in ("enormous", "model shape")),
    ("hosl", "probe NaN", "not_finite", each(ProbeData, smashed=lambda it: with_value(it.smashed, NAN))),
    ("hosl", "probes out of order", "malformed", each(ProbeData, probe=lambda it: it.probe + 1)),
    ("hosl", "loss NaN", *DECOUPLED["loss NaN"]),
    (
        "ho_sfl",
        "scalar NaN",
        "not_finite",
        each(Reply, projected_gradients=lambda it: with_value(it.projected_gradients, NAN)),
    ),
    ("ho_sfl", "too few scalars", "malformed", each(Reply, projected_gradients=lambda it: it.projected_gradients[1:])),
    ("fedavg", "uploads", "malformed", edited(lambda messages: [_upload(), *messages])),
]
SETTINGS = {"min_clients": 2, "retries": 0, "max_reply_bytes": 2**20}
CHANGES: dict[str, Any] = {"keep_state": False}


def _upload() -> SmashedData:
    return SmashedData(0, 1, 0, torch.zeros(8, 3, 4, 4), torch.zeros(8, dtype=torch.int64))


def _as_probe(message: Any) -> Any:
    if not isinstance(message, SmashedData):
        return message
    return ProbeData(0, 1, message.local_step, 0, message.smashed, message.labels)


@pytest.fixture(scope="module")
def without_client_1() -> dict[str, dict[str, torch.Tensor]]:
    """The servers after two rounds, by algorithm, if client 1 takes part only in the second."""
    return {}


def two_rounds_without(name: str, known: dict[str, Any]) -> dict[str, torch.Tensor]:
    if name not in known:
        parties = federation(name, **CHANGES)
        grid = grid_of(parties)
        engine = flower(parties, grid, **SETTINGS)
        away = node_of(grid, 1)
        del grid.nodes[away.context.node_id]
        assert engine.run_round().faults == {"absent": 1}
        grid.nodes[away.context.node_id] = away
        engine._nodes.wait_for([1], 1, 10.0)
        assert engine.run_round().faults == {}
        known[name] = {key: tensor.clone() for key, tensor in engine.state()[0].items()}
    return known[name]


@pytest.mark.parametrize(("name", "case", "fault", "edit"), CASES, ids=[f"{name}: {case}" for name, case, *_ in CASES])
def test_a_client_that_sends_it_is_as_good_as_absent(
    name: str, case: str, fault: str, edit: Edit, without_client_1, caplog
) -> None:
    parties = federation(name, **CHANGES)
    grid = grid_of(parties)
    engine = flower(parties, grid, **SETTINGS)
    honest = node_of(grid, 1).tamper
    tamper(node_of(grid, 1), edit)
    result = engine.run_round()
    assert result.faults == {fault: 1}
    assert (result.num_replies, result.participants) == (2, [0, 1, 2])
    assert f"round=1 client=1 fault={fault}" in caplog.text
    assert "secrets" not in caplog.text
    node_of(grid, 1).tamper = honest
    engine._nodes.wait_for([1], 1, 10.0)
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], two_rounds_without(name, without_client_1))


@pytest.mark.parametrize("name", ["heron", "sflv2"])
def test_drop_outs_may_leave_without_a_reply_where_they_are_simulated_only(name: str) -> None:
    parties = federation(name, clients={"dropout": 1e-9}, **CHANGES)
    grid = grid_of(parties)
    engine = flower(parties, grid, **SETTINGS)
    tamper(node_of(grid, 1), lambda parcel: with_stream(replace(parcel, finished=True), b""))
    result = engine.run_round()
    assert (result.faults, result.num_replies) == ({}, 2)


@pytest.mark.parametrize("name", ["heron", "sflv2"])
def test_a_reply_that_comes_twice_counts_once(name: str) -> None:
    parties = federation(name, **CHANGES)
    grid = grid_of(parties)
    pull = grid.pull_messages

    def pull_twice(message_ids):
        replies = pull(message_ids)
        rounds = [reply for reply in replies if reply.metadata.message_type == "train.round"]
        return replies + rounds

    grid.pull_messages = pull_twice
    engine = flower(parties, grid, **SETTINGS)
    result = engine.run_round()
    messages = len([kind for _, kind in grid.handled if kind == "train.round"])
    assert (result.faults, result.num_replies) == ({"duplicate": messages}, 3)
    expected = federation(name, **CHANGES)
    expected.run_round()
    assert_equal(engine.state()[0], tensors_of(expected))


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("malformed", {"num_examples": 1}),
        ("malformed", {"lost_state": True}),
        ("malformed", {"content": b"x"}),
        ("malformed", {"num_parts": 2}),
        ("stale", {"part": 2}),
        ("stale", {"round_index": 1}),
        ("too_large", {"content": bytes(1025)}),
    ],
)
def test_every_further_piece_belongs_to_the_first(fault: str, changes: dict[str, Any]) -> None:
    parties = federation("heron", **CHANGES)
    grid = grid_of(parties)

    def changed(request: Message, reply: Message) -> Message:
        if request.metadata.message_type != "train.part":
            return reply
        parcel = read_record(reply.content, Parcel)
        return Message(write_record(replace(parcel, **changes) if parcel.part == 1 else parcel), reply_to=request)

    node_of(grid, 1).tamper = changed
    result = flower(parties, grid, **SETTINGS | {"max_reply_bytes": 1024}).run_round()
    assert (result.faults, result.num_replies) == ({fault: 1}, 2)


@pytest.mark.parametrize("name", ["heron", "sflv2"])
def test_what_flower_cannot_read_is_refused_too(name: str) -> None:
    parties = federation(name, **CHANGES)
    grid = grid_of(parties)
    pull, bad = grid.pull_messages, node_of(grid, 1).context.node_id

    def pull_or_fail(message_ids):
        replies = pull(message_ids)
        if any((reply.metadata.src_node_id, reply.metadata.message_type) == (bad, "train.round") for reply in replies):
            raise ValueError("Invalid object")
        return replies

    grid.pull_messages = pull_or_fail
    result = flower(parties, grid, **SETTINGS).run_round()
    assert (result.faults, result.num_replies) == ({"undecodable": 1}, 2)


def test_what_is_edited_is_what_was_there() -> None:
    messages = [_upload(), replace(_upload(), local_step=1)]
    assert [each.local_step for each in messages_of(stream_of(messages))] == [0, 1]
