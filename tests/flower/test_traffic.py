"""Scalars, packed smashed data and bundles from clients that lose what they hold, or send anything wrong."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from heron.flower.records import Parcel, RoundRequest, read_record
from heron.wire import PackedData, ProbeData, ScalarBroadcast, SmashedData, SnapshotRequest, decode
from heron.wire.groups import Smashed
from tests.conformance.test_algorithms import assert_equal, federation, tensors_of
from tests.flower.grid import FakeGrid, task_identity  # noqa: F401 - a fixture
from tests.flower.parties import flower, grid_of, node_of
from tests.flower.tampering import Edit, each, edited, tamper, with_stream

SCALARS = pytest.mark.parametrize("name", ["heron, scalars", "heron, seed groups", "ho_sfl", "hosl, scalars"])
INT8: dict[str, Any] = {"smashed": Smashed("int8")}
LENIENT: dict[str, Any] = {"min_clients": 2, "retries": 0}


def watch_openings(grid: FakeGrid, client_id: int) -> list[str]:
    """Names of the messages that open the client's rounds from now on."""
    names: list[str] = []
    node = node_of(grid, client_id)

    def seen(message: Any, reply: Any) -> Any:
        if message.metadata.message_type == "train.round":
            request = read_record(message.content, RoundRequest)
            if request.step == 0:
                names.append(type(decode(request.content)).__name__)
        return reply

    node.tamper = seen
    return names


@SCALARS
def test_a_client_that_forgot_theta_asks_for_a_snapshot_as_in_process(name: str) -> None:
    """The same tensors, examples and ledger; asking is no fault, and an optimiser state that is gone counts once."""
    grid = grid_of(federation(name))
    engine, expected = flower(federation(name), grid), federation(name)
    names = watch_openings(grid, 1)
    for number in range(4):
        if number == 2:
            node_of(grid, 1).forget()
            expected.held.take(1)
            lost = {"lost_state": 1} if expected.states.take(1) else {}
        assert engine.run_round().faults == (lost if number == 2 else {})
        expected.run_round()
    assert names == ["ModelBroadcast", "ScalarBroadcast", "ScalarBroadcast", "ModelBroadcast", "ScalarBroadcast"]
    assert_equal(engine.state()[0], tensors_of(expected))
    assert engine.state()[1] | {"held": {}} == expected.state()[1] | {"held": {}}


@SCALARS
def test_theta_of_another_network_is_not_taken_for_what_the_client_holds(name: str) -> None:
    grid = grid_of(federation(name))
    engine, expected = flower(federation(name), grid), federation(name)
    engine.run_round()
    expected.run_round()
    state = node_of(grid, 1).context.state
    assert "held/1" in state
    state["held/1"] = node_of(grid_of_finished("heron, exact head, scalars"), 1).context.state["held/1"]
    assert engine.run_round().faults == {}
    expected.run_round()
    assert_equal(engine.state()[0], tensors_of(expected))


def grid_of_finished(name: str) -> FakeGrid:
    """Nodes after a round of another run."""
    grid = grid_of(federation(name))
    flower(federation(name), grid).run_round()
    return grid


def _request(parcel: Parcel) -> SnapshotRequest:
    return SnapshotRequest(parcel.round_index, parcel.client_id)


def asking(parcel: Parcel) -> Any:
    done = replace(parcel, finished=True, num_examples=0, keeps_state=False)
    return edited(lambda _: [_request(parcel)])(done)


@SCALARS
def test_who_asks_again_is_refused_by_name(name: str) -> None:
    grid = grid_of(federation(name))
    engine = flower(federation(name), grid, **LENIENT)
    tamper(node_of(grid, 1), asking)
    result = engine.run_round()  # it was sent a snapshot
    assert (result.faults, result.num_replies) == ({"malformed": 1}, 2)
    node_of(grid, 1).tamper = lambda _, reply: reply
    assert engine.run_round().faults == {}
    tamper(node_of(grid, 1), asking)
    assert engine.run_round().faults == {"malformed": 1}  # once it gets one, not twice
    node_of(grid, 1).tamper = lambda _, reply: reply
    assert engine.run_round().faults == {}


@pytest.mark.parametrize(
    "edit",
    [
        lambda parcel: replace(asking(parcel), num_examples=3),
        lambda parcel: replace(asking(parcel), finished=False),
        lambda parcel: replace(asking(parcel), keeps_state=True),
        lambda parcel: edited(lambda _: [_request(parcel), _request(parcel)])(asking(parcel)),
        lambda parcel: edited(lambda messages: [_request(parcel), *messages])(parcel),
        lambda parcel: edited(lambda messages: [messages[0], _request(parcel)])(parcel),
    ],
)
@pytest.mark.parametrize("name", ["heron, scalars", "hosl, scalars"])
def test_a_request_is_all_that_a_client_then_sends(name: str, edit: Edit) -> None:
    grid = grid_of(federation(name))
    engine = flower(federation(name), grid, **LENIENT)
    engine.run_round()
    tamper(node_of(grid, 1), edit)
    result = engine.run_round()
    assert (result.faults, result.num_replies) == ({"malformed": 1}, 2)


def test_a_coupled_client_that_restarts_in_its_round_is_sent_a_snapshot() -> None:
    name = "hosl, scalars"
    grid = grid_of(federation(name))
    engine, expected = flower(federation(name), grid), federation(name)
    engine.run_round()
    expected.run_round()
    names = watch_openings(grid, 1)
    seen, count = node_of(grid, 1).tamper, []

    def forgetful(message: Any, reply: Any) -> Any:
        count.append(1)
        if len(count) == 2:
            node_of(grid, 1).forget()
        return seen(message, reply)

    node_of(grid, 1).tamper = forgetful
    assert engine.run_round().faults == {"lost": 1}
    expected.run_round()
    assert names == [ScalarBroadcast.__name__, "ModelBroadcast"]
    assert_equal(engine.state()[0], tensors_of(expected))


def packed(**changes: torch.Tensor) -> Edit:
    return each(PackedData, packed=lambda it: dict(it.packed) | changes)


WRONG: dict[str, Edit] = {
    "not packed": edited(
        lambda messages: [
            SmashedData(m.round_index, m.client_id, m.local_step, torch.zeros(8, 3, 4, 4), m.labels.long())
            if isinstance(m, PackedData)
            else m
            for m in messages
        ]
    ),
    "another codec": each(
        PackedData, packed=lambda it: {"fp32": torch.zeros(len(it.labels) * 192).byte(), "shape": it.packed["shape"]}
    ),
    "compressed": each(
        PackedData, packed=lambda it: {"int8.zstd" if name == "int8" else name: t for name, t in it.packed.items()}
    ),
    "enormous shape": packed(shape=torch.tensor([8, 3, 2**14, 2**10], dtype=torch.int32)),
    "more examples than labels": packed(shape=torch.tensor([9, 3, 4, 4], dtype=torch.int32)),
    "another shape": packed(shape=torch.tensor([8, 3, 2, 8], dtype=torch.int32)),
    "no shape": each(PackedData, packed=lambda it: {name: t for name, t in it.packed.items() if name != "shape"}),
    "scales NaN": packed(scales=torch.full((2, 3), float("nan"))),
    "labels out of range": each(PackedData, labels=lambda it: torch.full_like(it.labels, 4)),
    "labels that are numbers": each(PackedData, labels=lambda it: it.labels.float()),
    "labels of another shape": each(PackedData, labels=lambda it: it.labels[:, None]),
    "no labels": each(PackedData, labels=lambda it: it.labels[:0]),
    "one label of no dimension": each(PackedData, labels=lambda it: it.labels[0]),
    "more than a batch": each(
        PackedData,
        labels=lambda it: it.labels.repeat(2),
        packed=lambda it: {
            "int8": it.packed["int8"].repeat(2),
            "scales": it.packed["scales"],
            "shape": it.packed["shape"] * torch.tensor([2, 1, 1, 1], dtype=torch.int32),
        },
    ),
}


@pytest.mark.parametrize("name", ["heron", "sflv2"])
@pytest.mark.parametrize("case", list(WRONG))
def test_packed_smashed_data_are_those_of_the_codec_and_the_network(name: str, case: str, caplog) -> None:
    grid = grid_of(federation(name, **INT8))
    engine = flower(federation(name, **INT8), grid, **LENIENT)
    tamper(node_of(grid, 1), WRONG[case])
    result = engine.run_round()
    assert (result.faults, result.num_replies) == ({"malformed": 1}, 2)
    if case == "enormous shape":  # eight labels, 3 x 4 x 4 values each
        assert "a packed shape of at most 384 values" in caplog.text


def test_what_is_not_to_be_packed_is_refused_packed() -> None:
    grid = grid_of(federation("hosl"))
    engine = flower(federation("hosl"), grid, **LENIENT)
    pack = federation("heron", **INT8)
    donors = [each for each in pack.exchange(pack.fed_server.broadcast(0, 1)) if isinstance(each, PackedData)]

    def edit(messages: list[Any]) -> list[Any]:
        return [donors[0] if type(message) in (SmashedData, ProbeData) else message for message in messages]

    tamper(node_of(grid, 1), edited(edit))
    assert engine.run_round().faults == {"malformed": 1}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda content: content[:-1], "undecodable"),
        (lambda content: content + b"\x00", "undecodable"),
        (lambda content: b"\x07" * 200, "undecodable"),
        (lambda content: b"", "malformed"),
    ],
)
def test_a_damaged_bundle_is_refused(change: Any, fault: str) -> None:
    grid = grid_of(federation("heron", link={"bundle": True}))
    engine = flower(federation("heron", link={"bundle": True}), grid, **LENIENT)
    tamper(node_of(grid, 1), lambda parcel: with_stream(parcel, change(parcel.content)))
    result = engine.run_round()
    assert (result.faults, result.num_replies) == ({fault: 1}, 2)
