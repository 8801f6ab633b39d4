"""Clients that drop out or run late."""

import math

import pytest

from heron.algorithms import ALGORITHMS
from heron.client.attendance import Attendance, attendance
from heron.wire.groups import Clients
from tests.conformance.test_algorithms import BATCH, NUM_CLIENTS, SIZES, comparable, federation, run

EVERY = pytest.mark.parametrize("name", list(ALGORITHMS))


def fates(clients: Clients, num_steps: int = 5, count: int = 4000) -> list[Attendance]:
    return [attendance(clients, 3, index, 7, num_steps) for index in range(count)]


def test_reliable_clients_are_not_disturbed() -> None:
    assert set(fates(Clients())) == {Attendance(None, replies=True)}


def test_shares_are_those_asked_for() -> None:
    drawn = fates(Clients(dropout=0.3, stragglers=0.4))
    dropped = [fate for fate in drawn if not fate.replies]
    late = [fate for fate in drawn if fate.replies and fate.max_steps is not None]
    assert len(dropped) / len(drawn) == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / len(drawn)))
    assert len(late) / len(drawn) == pytest.approx(0.7 * 0.4, abs=5 * math.sqrt(0.28 * 0.72 / len(drawn)))
    assert {fate.max_steps for fate in dropped} == {0, 1, 2, 3, 4}  # before the end of a step drawn from all
    assert {fate.max_steps for fate in late} == {1, 2, 3, 4, 5}


def test_a_fate_is_a_function_of_seed_round_and_client() -> None:
    clients = Clients(dropout=0.5)
    assert fates(clients) == fates(clients)
    others = [attendance(clients, seed, 0, client, 5) for seed in range(8) for client in range(8)]
    assert len(set(others)) > 3


@EVERY
def test_a_round_goes_on_without_those_who_drop_out(name: str) -> None:
    parties = federation(name, clients={"dropout": 0.5, "stragglers": 0.3, "weighting": "examples"})
    results = [parties.run_round() for _ in range(12)]
    replies = [result.num_replies for result in results]
    assert all(len(result.participants) == NUM_CLIENTS for result in results)
    assert len(set(replies)) > 1
    assert sum(replies) < 12 * NUM_CLIENTS
    assert parties.client_examples < 12 * sum(SIZES)


@EVERY
def test_a_round_without_a_reply_keeps_the_model(name: str) -> None:
    parties = federation(name, clients={"dropout": 0.9999999})
    parties.run_round()
    before = {key: value.clone() for key, value in parties.fed_server.model.items()}
    result = parties.run_round()
    assert result.num_replies == 0
    assert all(value.equal(before[key]) for key, value in parties.fed_server.model.items())


@EVERY
def test_unreliable_clients_resume_bit_for_bit(name: str, tmp_path) -> None:
    from heron.runs.run_directory import RunDirectory

    clients = {"dropout": 0.3, "stragglers": 0.4}
    whole = run(name, RunDirectory(tmp_path / "whole"), clients=clients)
    whole.train()
    run(name, RunDirectory(tmp_path / "cut"), rounds=2, clients=clients).train()
    resumed = run(name, RunDirectory(tmp_path / "cut"), clients=clients)
    assert resumed.restore() == 2
    resumed.train()
    assert comparable(resumed.metrics) == comparable(whole.metrics)
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()


def test_every_example_of_an_undisturbed_round_is_counted() -> None:
    parties = federation("heron")
    parties.run_round()
    assert parties.client_examples == sum(SIZES)
    parties = federation("heron", local_steps=4)
    parties.run_round()
    # Passes follow one another: 20 = 8 + 8 + 4, then 8 again; 16 = 8 + 8, twice; 24 = 8 + 8 + 8, then 8.
    assert (BATCH, parties.client_examples) == (8, 28 + 32 + 32)
