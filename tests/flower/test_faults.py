"""Clients that are late, lose what they keep, go and come back; rounds that are tried again; runs that are resumed."""

from typing import Any

import pytest
import torch
from flwr.app import Error, Message

from heron.engines.in_process import Federation
from heron.errors import TrainingError
from heron.flower.records import Refusal, write_record
from heron.runs.run_directory import RunDirectory
from heron.wire import Reply, SmashedData
from tests.conformance.test_algorithms import assert_equal, comparable, federation, run, tensors_of
from tests.flower.grid import FakeGrid, task_identity  # noqa: F401 - a fixture
from tests.flower.parties import flower, flower_run, grid_of, node_of
from tests.flower.tampering import each, tamper

# One of each way to go through a round: whole, step by step, copies of the server, several uploads a step, scalars.
KINDS = pytest.mark.parametrize("name", ["heron", "fsl_sage", "sflv2", "sflv1", "hosl", "ho_sfl"])
FORGETFUL: dict[str, Any] = {"keep_state": False}


def rounds_of(grid: FakeGrid) -> list[int]:
    return [node for node, kind in grid.handled if kind == "train.round"]


def undisturbed(name: str, rounds: int, **changes) -> dict[str, torch.Tensor]:
    parties = federation(name, **changes)
    for _ in range(rounds):
        parties.run_round()
    return tensors_of(parties)


@KINDS
@pytest.mark.parametrize("what", ["late", "failed", "not_finite", "enormous"])
def test_a_round_with_too_few_is_tried_again_as_if_nothing_had_been(name: str, what: str) -> None:
    parties = federation(name)
    grid = grid_of(parties)
    engine = flower(parties, grid)
    edit = {
        "late": lambda parcel: None,
        "failed": lambda parcel: Error(8, "killed"),
        "not_finite": each(Reply, train_loss=lambda it: torch.tensor(float("inf"))),
        # Seen by the Main Server only, when it has trained on it.
        "enormous": each(SmashedData, smashed=lambda it: torch.full_like(it.smashed, 3e38)),
    }[what]
    tamper(node_of(grid, 1), edit, times=1)
    first = engine.run_round()
    assert (first.faults, first.num_replies) == ({"not_finite" if what == "enormous" else what: 1}, 3)
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], undisturbed(name, 2))
    assert engine.servers.client_examples == 2 * 60


@KINDS
def test_trying_again_takes_no_time_where_who_is_missing_is_there(name: str) -> None:
    parties = federation(name)
    grid = grid_of(parties)
    engine = flower(parties, grid, round_timeout_s=60.0)
    tamper(node_of(grid, 1), lambda parcel: Error(8, "killed"), times=1)
    engine.run_round()
    assert grid.clock.now < 10.0


@pytest.mark.parametrize("name", ["heron", "sflv1"])
def test_clients_whose_round_has_arrived_are_not_asked_again_where_they_need_not(name: str) -> None:
    parties = federation(name)
    grid = grid_of(parties)
    engine = flower(parties, grid)
    tamper(node_of(grid, 2), lambda parcel: None, times=1)
    engine.run_round()
    asked = rounds_of(grid)
    if name == "heron":
        assert [asked.count(node_of(grid, client).context.node_id) for client in range(3)] == [1, 1, 2]


@KINDS
def test_a_round_that_never_has_enough_leaves_the_servers_as_they_were(name: str) -> None:
    parties = federation(name)
    grid = grid_of(parties)
    engine = flower(parties, grid, retries=1)
    engine.run_round()
    before = {key: tensor.clone() for key, tensor in engine.state()[0].items()}
    facts = engine.state()[1]
    tamper(node_of(grid, 2), lambda parcel: None)
    with pytest.raises(TrainingError, match="at least 3 of 3 clients in round 2, found fewer in 2 attempts: late 2"):
        engine.run_round()
    assert_equal(engine.state()[0], before)
    after = engine.state()[1]
    for key in ("next_round", "client_examples", "client_states"):
        assert after[key] == facts[key]
    node_of(grid, 2).tamper = lambda _, reply: reply
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], undisturbed(name, 2))


@KINDS
def test_enough_is_enough(name: str) -> None:
    parties = federation(name)
    grid = grid_of(parties)
    engine = flower(parties, grid, min_clients=2)
    tamper(node_of(grid, 0), lambda parcel: None)
    before = grid.clock()
    result = engine.run_round()
    assert (result.faults, result.num_replies) == ({"late": 1}, 2)
    assert 60.0 <= grid.clock() - before < 62.0  # the deadline, on a clock that moves when someone waits
    assert engine.servers.next_round == 1


@pytest.mark.parametrize("name", ["heron", "sflv2", "sflv1", "hosl", "ho_sfl"])
@pytest.mark.parametrize("after", [1, 2])
def test_a_client_that_loses_its_place_begins_its_round_anew(name: str, after: int) -> None:
    """In a decoupled round the place is the rest of a long reply; the client loses it after a number of messages."""
    parties = federation(name, **FORGETFUL)
    grid = grid_of(parties)
    engine = flower(parties, grid, max_reply_bytes=2048 if name == "heron" else 2**20)
    node, counted = node_of(grid, 1), []

    def forgetful(request: Message, reply: Message) -> Message:
        if request.metadata.message_type != "query.identity":
            counted.append(request)
        if len(counted) == after:
            node.forget()
        return reply

    node.tamper = forgetful
    assert engine.run_round().faults == {"lost": 1}
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], undisturbed(name, 2, **FORGETFUL))


@pytest.mark.parametrize("name", ["heron", "sflv2"])
def test_a_client_that_loses_its_place_again_and_again_is_given_up(name: str) -> None:
    parties = federation(name, **FORGETFUL)
    grid = grid_of(parties)
    engine = flower(parties, grid, min_clients=2, retries=3)
    node = node_of(grid, 1)
    node.tamper = lambda request, reply: (
        Message(write_record(Refusal(fault="lost", reason="x")), reply_to=request)
        if request.metadata.message_type == "train.round"
        else reply
    )
    result = engine.run_round()
    assert (result.faults, result.num_replies) == ({"lost": 4}, 2)


@pytest.mark.parametrize("name", ["heron", "sflv2"])
def test_a_client_that_says_again_and_again_that_it_must_be_charged_is_given_up(name: str) -> None:
    """Its round is opened once more without the state that it has lost, and not again."""
    parties = federation(name)
    grid = grid_of(parties)
    engine = flower(parties, grid, min_clients=2, retries=3)
    engine.run_round()
    node_of(grid, 1).tamper = lambda request, reply: (
        Message(write_record(Refusal(fault="lost_state", reason="x")), reply_to=request)
        if request.metadata.message_type == "train.round"
        else reply
    )
    result = engine.run_round()
    assert (result.faults, result.num_replies) == ({"lost_state": 2 if name == "heron" else 1}, 2)


@KINDS
def test_a_client_that_lost_its_optimiser_state_begins_with_an_empty_one(name: str) -> None:
    """The client acts like one that joins; the in-process engine, after dropping the same state, computes the same."""
    parties = federation(name)
    grid = grid_of(parties)
    engine, expected = flower(parties, grid), federation(name)
    engine.run_round()
    expected.run_round()
    keeps = expected.states.take(1) != {}
    expected.held.take(1)
    node_of(grid, 1).forget()
    assert engine.run_round().faults == ({"lost_state": 1} if keeps else {})
    expected.run_round()
    assert_equal(engine.state()[0], tensors_of(expected))
    assert engine.run_round().faults == {}
    expected.run_round()
    assert_equal(engine.state()[0], tensors_of(expected))
    assert engine.state()[1] == expected.state()[1] | {"held": {}}


def skipping(name: str, rounds: list[list[int]]) -> Federation:
    """The in-process engine with given participants."""
    parties = federation(name)
    for participants in rounds:
        parties.servers.run_round(parties, participants)
    return parties


@KINDS
def test_a_round_that_came_too_late_leaves_no_trace_with_the_client(name: str) -> None:
    """Its optimiser continues from the last round that the servers accepted."""
    grid = grid_of(federation(name))
    engine = flower(federation(name), grid, min_clients=2)
    engine.run_round()
    honest = node_of(grid, 1).tamper
    tamper(node_of(grid, 1), lambda parcel: None if parcel.finished else parcel)
    assert engine.run_round().faults == {"late": 1}
    node_of(grid, 1).tamper = honest
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], tensors_of(skipping(name, [[0, 1, 2], [0, 2], [0, 1, 2]])))


@pytest.mark.parametrize("name", ["heron", "sflv2"])
def test_a_node_that_comes_back_under_another_name_takes_its_place(name: str) -> None:
    grid = grid_of(federation(name))
    engine = flower(federation(name), grid, min_clients=2)
    engine.run_round()
    gone = grid.nodes.pop(node_of(grid, 1).context.node_id)
    assert engine.run_round().faults == {"absent": 1}
    gone.context.node_id = 4711
    grid.nodes[4711] = gone
    engine._nodes.wait_for([1], 1, 10.0)
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], tensors_of(skipping(name, [[0, 1, 2], [0, 2], [0, 1, 2]])))


def test_a_round_waits_for_enough_nodes() -> None:
    grid = grid_of(federation("heron"))
    engine = flower(federation("heron"), grid)
    away = grid.nodes.pop(node_of(grid, 1).context.node_id)
    sleep = grid.clock.sleep

    def come_back(seconds: float) -> None:
        sleep(seconds)
        if grid.clock() > 90.0:  # the wait for everyone at the beginning is over, that for enough is not
            grid.nodes[away.context.node_id] = away

    engine._nodes._sleep = come_back
    assert engine.run_round().faults == {}


def test_a_second_node_of_a_client_and_nodes_of_no_client_are_left_alone(caplog) -> None:
    grid = grid_of(federation("heron"))
    engine = flower(federation("heron"), grid)
    assert engine.run_round().faults == {}
    for node_id, config in ((1, {"partition-id": 1}), (2, {"partition-id": 3}), (3, {}), (4, {"partition-id": "1"})):
        node = grid_of(federation("heron")).nodes[100]
        node.context.node_id, node.context.node_config = node_id, config
        grid.nodes[node_id] = node
    for _ in range(2):
        assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], undisturbed("heron", 3))
    assert caplog.text.count("node left alone") == 4
    assert "another node is client 1 already" in caplog.text
    assert {node for node, kind in grid.handled if kind == "train.round"} == {100, 107, 114}


def test_a_node_that_has_become_another_client_declines_and_is_asked_again() -> None:
    grid = grid_of(federation("heron"))
    engine = flower(federation("heron"), grid, min_clients=1, retries=0)
    engine.run_round()
    first, second = node_of(grid, 0), node_of(grid, 1)
    first.context.node_config, second.context.node_config = second.context.node_config, first.context.node_config
    with pytest.raises(TrainingError, match="declined 2"):
        flower_again(engine, 2)
    engine._nodes.wait_for([0, 1], 2, 10.0)
    assert engine.run_round().num_replies == 3


def flower_again(engine: Any, enough: int) -> None:
    object.__setattr__(engine._settings, "min_clients", enough)
    engine.run_round()


@pytest.mark.parametrize("name", ["heron", "sflv2"])
def test_resumes_as_a_new_run_whose_clients_begin_with_empty_states(name: str, tmp_path) -> None:
    """A new run of Flower's has new contexts; the servers continue bit for bit, and the loss of states is counted."""
    first = flower_run(name, RunDirectory(tmp_path), rounds=2)
    first.train()
    resumed = flower_run(name, RunDirectory(tmp_path), rounds=4)
    assert resumed.restore() == 2
    assert_equal(resumed.federation.state()[0], first.federation.state()[0])
    rows = resumed.train()
    assert [row.get("faults") for row in rows] == [None, None, {"lost_state": 3}, None]
    expected = federation(name)
    for number in range(4):
        if number == 2:
            for client_id in range(3):
                expected.states.take(client_id)
        expected.run_round()
    assert_equal(resumed.federation.state()[0], tensors_of(expected))


def test_a_round_that_failed_is_no_part_of_the_run_directory(tmp_path) -> None:
    grid = grid_of(federation("heron", **FORGETFUL))
    begun = flower_run("heron", RunDirectory(tmp_path), rounds=3, grid=grid, settings={"retries": 0}, **FORGETFUL)
    handled = []

    def later(request: Message, reply: Message) -> Message | None:
        handled.append(request.metadata.message_type)
        return None if handled.count("train.round") > 2 else reply

    node_of(grid, 2).tamper = later
    with pytest.raises(TrainingError):
        begun.train()
    resumed = flower_run("heron", RunDirectory(tmp_path), rounds=3, **FORGETFUL)
    assert resumed.restore() == 2
    expected = run("heron", rounds=3, **FORGETFUL)
    assert comparable(resumed.train()) == comparable(expected.train())
