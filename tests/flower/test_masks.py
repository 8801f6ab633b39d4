"""Sums under masks on Flower: the bits and bytes of one process, whoever is lost, and nothing told twice."""

from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message

from heron.client.attendance import Attendance
from heron.flower.records import Parcel, read_record, write_record
from heron.runs.run_directory import RunDirectory
from heron.wire import SmashedData
from tests.conformance.test_algorithms import comparable
from tests.engines.test_secure_sum import SIZES, federation, plain_walks, told_replies
from tests.flower.grid import task_identity  # noqa: F401 - a fixture
from tests.flower.mask_parties import flower, grid_of, model_of, run_of, started
from tests.flower.parties import node_of
from tests.flower.tampering import each


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"seed_groups": 2, "clients": {"weighting": "examples"}}, marks=pytest.mark.slow),
        pytest.param({"clients": {"dropout": 0.3, "stragglers": 0.3}, "seed": 5}, marks=pytest.mark.slow),
        pytest.param({"exact": 1, "link": {"bundle": True}}, marks=pytest.mark.slow),
    ],
    ids=["plain", "groups and weights", "dropouts and stragglers", "exact head in bundles"],
)
def test_it_is_the_run_in_one_process_bit_for_bit_and_byte_for_byte(changes: dict[str, Any]) -> None:
    """Secrets differ, sums do not."""
    parties = federation(**changes)
    expected, found = run_of(parties, rounds=2), run_of(flower(federation(**changes), grid_of(parties)), rounds=2)
    expected.train()
    found.train()
    assert comparable(found.metrics) == comparable(expected.metrics)
    assert model_of(found.federation) == model_of(parties)
    for direction in ("uplink", "downlink"):
        ledgers = [engine.servers.ledger.by_kind(direction) for engine in (found.federation, parties)]
        assert ledgers[0] == ledgers[1]
        assert ledgers[0]["masks"] > 0


def without(parties: Any, clients: set[int], *, rounds: int = 1) -> Any:
    """The engine of one process, in whose first rounds some clients drop out before they reply."""
    parties.clients.fate = lambda t, i, _: Attendance(0, replies=False) if t < rounds and i in clients else Attendance()
    return parties


def lose(grid: Any, clients: set[int], kind: str, *, times: int = 1) -> None:
    """Let some replies of clients to messages of a kind vanish."""
    for client_id in clients:
        left = [times]

        def lossy(request: Any, reply: Any, left: list[int] = left) -> Any:
            if request.metadata.message_type != kind or not left[0]:
                return reply
            left[0] -= 1
            return None

        node_of(grid, client_id).tamper = lossy


@pytest.mark.slow
def test_what_the_servers_add_up_is_the_plain_sum(monkeypatch) -> None:
    """In Python's integers, to the last bit, of those whose values arrive: 30% are lost."""
    grid, engine = started()
    replies, done = told_replies(engine, monkeypatch), []
    replayer = engine.servers.fed_server._replayer
    advance = replayer.advance
    monkeypatch.setattr(replayer, "advance", lambda theta, one: done.append(one) or advance(theta, one))
    lose(grid, {2, 5}, "train.round")
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (5, {"late": 2})
    arrived = [reply for reply in replies if reply.client_id not in (2, 5)]
    expected = plain_walks(federation(), arrived)
    (found,) = done
    for mine, theirs in zip(found.walks, expected, strict=True):
        assert np.array_equal(mine.scalars_P, theirs.scalars_P)


@pytest.mark.slow
def test_clients_that_are_lost_before_they_reply_are_left_out() -> None:
    grid, engine = started()
    lose(grid, {2, 5}, "train.round")
    result, expected = engine.run_round(), without(federation(), {2, 5})
    expected.run_round()
    assert (result.num_replies, result.faults) == (5, {"late": 2})
    assert model_of(engine) == model_of(expected)
    assert engine.run_round().faults == {}
    expected.run_round()
    assert model_of(engine) == model_of(expected)


def test_clients_that_are_lost_between_their_messages_count() -> None:
    """Their values have arrived, and shares of their masks are with the others."""
    grid, engine = started()
    engine.run_round()  # keys are known
    lose(grid, {2, 5}, "train.masks")
    before = grid.clock()
    result, expected = engine.run_round(), federation()
    assert (result.num_replies, result.faults) == (len(SIZES), {"late": 2})
    assert 60.0 <= grid.clock() - before < 62.0, "the deadline of a round"
    expected.run_round()
    expected.run_round()
    assert model_of(engine) == model_of(expected)


def test_a_sum_that_cannot_be_told_ends_the_round_without_an_update_and_without_another_try(caplog) -> None:
    """Client 1 has a mask with client 2, which has dropped out, and is lost before it tells the key."""
    grid, engine = started()
    before = model_of(engine)
    engine.run_round()
    after_first = model_of(engine)
    assert after_first != before
    lose(grid, {2}, "train.round")
    lose(grid, {1}, "train.masks")
    asked = len(grid.handled)
    with pytest.warns(UserWarning, match="round 2: no update: expected client 1 to tell the mask .* with client 2"):
        result = engine.run_round()
    assert (result.num_replies, result.faults) == (0, {"late": 2, "secure_sum": 1})
    assert "no update run=1 round=2 reason=" in caplog.text
    kinds = [kind for _, kind in grid.handled[asked:]]
    assert (kinds.count("train.round"), kinds.count("train.masks")) == (7, 6), "nobody was asked twice"
    assert model_of(engine) == after_first
    assert engine.run_round().faults == {}
    assert engine.servers.next_round == 3


@pytest.mark.slow
def test_answers_are_asked_for_all_at_once() -> None:
    grid, engine = started()
    for node in grid.nodes.values():
        node.delay_s = 10.0
    before = grid.clock()
    engine.run_round()
    assert grid.clock() - before < 45.0  # who they are, keys, rounds, answers


@pytest.mark.slow
@pytest.mark.parametrize("secrets", [False, True])
def test_a_round_that_is_tried_again_repeats_its_masks_for_the_same_values(secrets: bool, tmp_path) -> None:
    """One reply is lost, and with it all that the client kept but the file of its secret."""
    parties = federation()
    grid = grid_of(parties, secrets=tmp_path if secrets else None)
    engine, expected = flower(parties, grid), federation()
    engine.run_round()
    expected.run_round()
    node = node_of(grid, 3)
    sent = []

    def lossy(request: Any, reply: Any) -> Any:
        if request.metadata.message_type == "train.round":
            sent.append(reply.content["content"]["content"].data)
            if len(sent) == 1:
                if secrets:
                    node.forget()
                return None
        return reply

    node.tamper = lossy
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (len(SIZES), {"late": 1})
    expected.run_round()
    assert model_of(engine) == model_of(expected)
    if not secrets:  # else the client asks for the model in between
        assert sent[0] == sent[1]


@pytest.mark.slow
def test_nothing_is_told_in_a_round_that_is_tried_again() -> None:
    """One client's uploads spoil the Main Server, which is seen when all replies have arrived."""
    parties = federation()
    grid = grid_of(parties)
    engine, expected = flower(parties, grid, retries=1), federation()
    told = []

    def spoiled(request: Any, reply: Any) -> Any:
        told.append(request.metadata.message_type)
        return enormous(reply, request) if told == ["query.identity", "train.masks", "train.round"] else reply

    node_of(grid, 1).tamper = spoiled
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (len(SIZES), {"not_finite": 1})
    assert told == ["query.identity", "train.masks", "train.round", "train.round", "train.masks"]
    expected.run_round()
    assert model_of(engine) == model_of(expected)


def enormous(reply: Any, request: Any) -> Any:
    """A reply whose uploads make the Main Server's loss infinite."""
    parcel = read_record(reply.content, Parcel)
    edit = each(SmashedData, smashed=lambda it: torch.full_like(it.smashed, 3e38))
    return Message(write_record(edit(parcel)), reply_to=request)


@pytest.mark.slow
def test_who_comes_after_the_beginning_has_no_seat() -> None:
    grid, engine = started()
    object.__setattr__(engine._settings, "retries", 1)
    object.__setattr__(engine._settings, "min_clients", 6)
    away = grid.nodes.pop(node_of(grid, 4).context.node_id)
    lose(grid, {0}, "train.round")

    def come_back(request: Any, reply: Any) -> Any:
        if request.metadata.message_type == "train.round":
            grid.nodes[away.context.node_id] = away
        return reply

    node_of(grid, 5).tamper = come_back
    result, expected = engine.run_round(), without(federation(), {4})
    assert (result.num_replies, result.faults) == (6, {"absent": 1, "late": 1})
    expected.run_round()
    assert model_of(engine) == model_of(expected)
    engine._nodes.wait_for([4], 1, 10.0)
    assert engine.run_round().num_replies == len(SIZES)


@pytest.mark.slow
def test_groups_of_two_have_no_sum() -> None:
    grid, engine = started(seed_groups=2)
    away = grid.nodes.pop(node_of(grid, 3).context.node_id)  # of clients 1, 3 and 5
    result, expected = engine.run_round(), without(federation(seed_groups=2), {1, 3, 5})
    assert (result.num_replies, result.faults) == (4, {"absent": 1, "alone": 2})
    expected.run_round()
    assert model_of(engine) == model_of(expected)
    grid.nodes[away.context.node_id] = away
    engine._nodes.wait_for([3], 1, 10.0)
    assert engine.run_round().num_replies == len(SIZES)


@pytest.mark.slow
def test_a_run_that_is_resumed_has_other_keys_and_the_same_bits(tmp_path) -> None:
    """A new run of Flower's, which may repeat rounds with another model; the secrets are in the same files."""
    parties = federation()
    first = run_of(
        flower(parties, grid_of(parties, secrets=tmp_path)), rounds=2, directory=RunDirectory(tmp_path / "run")
    )
    first.train()
    again = flower(parties, grid_of(parties, secrets=tmp_path, run_id=2))
    resumed = run_of(again, rounds=4, directory=RunDirectory(tmp_path / "run"))
    assert resumed.restore() == 2
    resumed.train()
    expected = federation()
    for _ in range(4):
        expected.run_round()
    assert model_of(again) == model_of(expected)
    keys = [engine.servers.fed_server.seats.keys for engine in (first.federation, again)]
    assert keys[0].keys() == keys[1].keys() == set(range(len(SIZES)))
    assert not set(keys[0].values()) & set(keys[1].values())
    assert all("faults" not in row for row in resumed.metrics)
