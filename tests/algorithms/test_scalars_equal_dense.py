"""`update=scalars` equals `update=dense` bit for bit: theta, the Main Server, and what an evaluation sees."""

from itertools import count, product

import pytest
import torch

from heron.wire import ModelBroadcast, ScalarReply
from heron.wire.groups import Probes
from tests.algorithms.scalar_runs import (
    GONE,
    assert_same_bits,
    clients,
    dense,
    everything,
    federation,
    kinds,
    learning,
    record,
    run,
)
from tests.settings import changed

RATES = {"sgd": 0.05, "momentum": 0.02, "adam": 0.01}
UNSTEADY = {"dropout": 0.3, "stragglers": 0.5}
CASES = [
    (rule, exact, scheme, (1, 3)[number % 2], ("equal", "examples")[number // 2 % 2], number // 3 % 2 == 0, number % 5)
    for number, (rule, exact, scheme) in zip(
        count(), product(RATES, (0, 1, 2), ("one_sided", "central", "jvp")), strict=False
    )
]
IN_TIERS = [
    case if number % 4 == 0 else pytest.param(*case, marks=pytest.mark.slow) for number, case in enumerate(CASES)
]


def compare(client, rounds: int = 4, **changes) -> str:
    """Run both; the messages of the scalar one."""
    found = run(federation(client, **changes), rounds)
    expected = run(federation(dense(client), **changes), rounds)
    messages = record(found.federation)
    assert learning(found.train()) == learning(expected.train())
    assert_same_bits(everything(found.federation), everything(expected.federation))
    return kinds(messages)


@pytest.mark.parametrize(("rule", "exact", "scheme", "probes", "weighting", "wire", "way"), IN_TIERS)
def test_every_rule_boundary_and_scheme(rule, exact, scheme, probes, weighting, wire, way) -> None:
    estimator = Probes(1e-2, probes, ("rademacher", "gaussian")[way % 2], scheme)
    settings = clients(optimizer=rule, learning_rate=RATES[rule], exact=exact, estimator=estimator)
    settings = changed(settings, schedule="cosine", rounds=7, clients={"weighting": weighting}, wire=wire)
    ways = [{}, {"clients": {"per_round": 2}}, {"clients": UNSTEADY}, {"local_steps": 2}, {"clients": {"per_round": 1}}]
    said = compare(changed(settings, **ways[way]))
    assert "L" in said
    assert "R" not in said, "who holds the right theta never needs a snapshot"


@pytest.mark.parametrize("weighting", ["equal", "examples"])
def test_partial_participation_with_stragglers_and_dropouts(weighting: str) -> None:
    said = compare(clients(optimizer="adam", clients={"per_round": 2, "weighting": weighting, **UNSTEADY}), 12)
    assert {"S", "L", "A"} == set(said)


@pytest.mark.parametrize("keep_state", [False, True])
def test_hosl_and_sgd_that_keeps_its_step_count(keep_state: bool) -> None:
    assert "L" in compare(clients(keep_state=keep_state), algorithm="hosl", wire=True)


@pytest.mark.parametrize("period", [1, 2])
@pytest.mark.parametrize("exact", [0, 1])
def test_an_auxiliary_network_that_the_main_server_refreshes(exact: int, period: int) -> None:
    """With exact=0 theta_a is part of theta: no log leads to what the server made of it."""
    refresh = {"refresh_auxiliary": True, "alignment_period": period, "alignment_steps": 2}
    said = compare(clients(exact=exact), 6, wire=True, server=refresh)
    round_of = {1: ("SA", "LA")[exact], 2: "LA"}[period]
    after_alignment = "SA" if exact == 0 else "LA"
    expected = "SA" * 3
    for round_index in range(1, 6):
        expected += (after_alignment if round_index % period == 0 else round_of) * 3
    assert said == expected


def test_a_replaced_theta_is_forgotten_by_the_log_only_where_it_is_theta() -> None:
    parties = federation(clients(exact=1))
    parties.run_round()
    server = parties.fed_server
    server.replace({name: tensor + 1 for name, tensor in server.model.items() if name.startswith("auxiliary")})
    assert type(server.broadcast(1, 0)).__name__ == "ScalarBroadcast"
    name, tensor = next(iter(server.theta.items()))
    server.replace({name: tensor + 1})
    assert isinstance(server.broadcast(1, 0), ModelBroadcast)


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("missed", [1, 2, 9])
def test_a_client_that_missed_rounds(missed: int, wire: bool) -> None:
    schedule = [[0, 1, 2], *[[1, 2]] * missed, [0, 1, 2], [0, 1, 2]]
    client = clients(optimizer="momentum", learning_rate=0.02)
    parties = federation(client, schedule=schedule, wire=wire)
    messages = record(parties)
    twin = federation(dense(client), schedule=schedule, wire=wire)
    for _ in schedule:
        parties.run_round()
        twin.run_round()
    assert kinds(messages, 0) == "SALALA"
    assert_same_bits(everything(parties), everything(twin))


def test_rounds_without_any_reply() -> None:
    script = {(index, client_id): GONE for index in (2, 3, 6) for client_id in range(3)}
    said = compare(clients(), 9, script=script, wire=True)
    assert said == "SA" * 3 + "LA" * 3 + "LLL" * 2 + "LA" * 6 + "LLL" + "LA" * 6


def test_the_first_rounds_without_any_reply() -> None:
    """Nobody is known to hold anything, though everybody does."""
    script = {(index, client_id): GONE for index in (0, 1) for client_id in range(3)}
    assert compare(clients(), 4, script=script) == "SSS" * 2 + "SA" * 3 + "LA" * 3


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_client_that_holds_a_later_theta_than_the_server_knows(optimizer: str) -> None:
    """It received rounds 2 and 4 and dropped out: its log starts before what it holds."""
    script = {(2, 0): GONE, (4, 0): GONE}
    schedule = [[0, 1, 2], [0, 1], [0, 2], [1, 2], [0, 1], [1], [0, 2], [0, 1, 2]]
    client = clients(optimizer=optimizer, learning_rate=RATES[optimizer])
    changes = {"schedule": schedule, "script": script, "wire": True}
    parties, twin = federation(client, **changes), federation(dense(client), **changes)
    messages = record(parties)
    for _ in schedule:
        parties.run_round()
        twin.run_round()
    assert_same_bits(everything(parties), everything(twin))
    assert kinds(messages, 0) == "SALALLLALA"
    bases = [message.base_round for message in messages if kinds([message], 0) == "L"]
    assert bases == [0, 1, 1, 1, 6]


def test_replies_of_the_scalar_run_hold_what_the_scalars_do_not_tell() -> None:
    """Exactly trained tensors and buffers, and nothing of theta."""
    parties = federation(clients(exact=2))
    messages = record(parties)
    parties.run_round()
    replayed = set(parties.learner.replayed())
    everything_sent = set(parties.learner.model())
    assert replayed
    assert replayed < everything_sent
    for message in messages:
        if isinstance(message, ScalarReply):
            assert set(message.model) == everything_sent - replayed
            assert message.projected_gradients.dtype == torch.float32


def test_a_server_in_float64_takes_the_step_that_its_clients_took() -> None:
    """The scalar that is sent is the scalar that was used: one client's replay is the client."""
    parties = federation(clients(optimizer="adam"), dtype=torch.float64, schedule=[[1]] * 3)
    for _ in range(3):
        parties.run_round()
        trained = {name: tensor.clone() for name, tensor in parties.learner.model().items()}
        assert_same_bits(parties.fed_server.theta, {name: trained[name] for name in parties.learner.replayed()})
