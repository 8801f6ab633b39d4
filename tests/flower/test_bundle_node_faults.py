"""Nodes without PyTorch that are late, killed, come back or send wrong messages, alone and next to nodes that have it.

What `test_faults.py` and `test_refusals.py` say of a toy network, of exported clients. Client 1 is at fault.
"""

import logging

import pytest
import torch
from flwr.app import Error, Message

from heron.wire import Reply, SmashedData
from tests.conformance.test_algorithms import assert_equal
from tests.flower.grid import FakeGrid, task_identity  # noqa: F401 - a fixture
from tests.flower.lean_parties import mixed_federation, mixed_grid
from tests.flower.parties import node_of
from tests.flower.tampering import each, tamper
from tests.flower.test_refusals import ANY, COUPLED, DECOUPLED
from tests.tiers import rows

# Clients without PyTorch.
ALL, AT_FAULT, NEXT_TO_IT = (0, 1, 2), (1,), (0,)
MIXES = pytest.mark.parametrize("without", rows([ALL, AT_FAULT, NEXT_TO_IT], [AT_FAULT]), ids=str)
DECOUPLED_CASES = [
    *("garbage", "smashed NaN", "model NaN", "enormous", "another round", "a hundred times what is declared"),
    *("smashed float64", "model shape", "an upload less"),
]
COUPLED_CASES = ["garbage", "smashed NaN", "another step", "never over"]
WRONG = {f"heron: {case}": (ANY | DECOUPLED)[case] for case in DECOUPLED_CASES}
WRONG |= {f"ho_sfl: {case}": (ANY | COUPLED)[case] for case in COUPLED_CASES}
QUICK = ["heron: smashed NaN", "heron: model NaN", "ho_sfl: garbage"]


@pytest.fixture(scope="module")
def undisturbed(made):
    """States of the servers after two rounds, by mix and bundle; each is computed once."""
    known = {}

    def state(without: tuple[int, ...], bundle: str) -> dict[str, torch.Tensor]:
        if (without, bundle) not in known:
            engine = mixed_federation(mixed_grid(made, without, bundle), bundle)
            assert [engine.run_round().faults for _ in range(2)] == [{}, {}]
            known[without, bundle] = {name: tensor.clone() for name, tensor in engine.state()[0].items()}
        return known[without, bundle]

    return state


@pytest.fixture(scope="module")
def absent_at_first(made):
    """States of the servers after two rounds, of which client 1 takes part in the second alone."""
    known = {}

    def state(without: tuple[int, ...], bundle: str) -> dict[str, torch.Tensor]:
        if (without, bundle) not in known:
            grid = mixed_grid(made, without, bundle)
            engine = mixed_federation(grid, bundle, min_clients=2)
            away = grid.nodes.pop(11)
            assert engine.run_round().faults == {"absent": 1}
            come_back(engine, grid, away)
            assert engine.run_round().faults == {}
            known[without, bundle] = {name: tensor.clone() for name, tensor in engine.state()[0].items()}
        return known[without, bundle]

    return state


def come_back(engine, grid: FakeGrid, node) -> None:
    grid.nodes[node.context.node_id] = node
    engine._nodes.wait_for([1], 1, 10.0)


@MIXES
@pytest.mark.parametrize("what", ["late", "killed", "not_finite", "enormous"])
def test_a_round_is_tried_again_as_if_nothing_had_been(what: str, without, made, undisturbed) -> None:
    grid = mixed_grid(made, without, "heron")
    engine = mixed_federation(grid, "heron", retries=2)
    fault, edit = {
        "late": ("late", lambda parcel: None),
        "killed": ("failed", lambda parcel: Error(8, "killed")),
        "not_finite": ("not_finite", each(Reply, train_loss=lambda it: torch.tensor(float("inf")))),
        "enormous": ("not_finite", each(SmashedData, smashed=lambda it: torch.full_like(it.smashed, 3e38))),
    }[what]
    tamper(node_of(grid, 1), edit, times=1)
    first = engine.run_round()
    assert (first.faults, first.num_replies) == ({fault: 1}, 3)
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], undisturbed(without, "heron"))


@MIXES
def test_a_round_that_came_too_late_counts_for_nothing(without, made, absent_at_first) -> None:
    grid = mixed_grid(made, without, "heron")
    engine = mixed_federation(grid, "heron", min_clients=2)
    honest = node_of(grid, 1).tamper
    tamper(node_of(grid, 1), lambda parcel: None)
    assert engine.run_round().faults == {"late": 1}
    node_of(grid, 1).tamper = honest
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], absent_at_first(without, "heron"))


@MIXES
def test_a_client_that_lost_its_theta_is_sent_it_again(without, made, undisturbed, caplog) -> None:
    """The node is restarted between the rounds; its replies hold scalars."""
    caplog.set_level(logging.INFO)
    grid = mixed_grid(made, without, "scalars")
    engine = mixed_federation(grid, "scalars")
    engine.run_round()
    node_of(grid, 1).forget()
    assert engine.run_round().faults == {}
    assert caplog.text.count("snapshot asked for") == 1
    assert_equal(engine.state()[0], undisturbed(without, "scalars"))


@MIXES
def test_a_client_that_loses_its_place_begins_its_round_anew(without, made, undisturbed) -> None:
    """The node is restarted within a round that is a message for every step."""
    grid = mixed_grid(made, without, "ho_sfl")
    engine = mixed_federation(grid, "ho_sfl", retries=2)
    node, counted = node_of(grid, 1), []

    def forgetful(request: Message, reply: Message) -> Message:
        if request.metadata.message_type != "query.identity":
            counted.append(request)
        if len(counted) == 1:
            node.forget()
        return reply

    node.tamper = forgetful
    assert engine.run_round().faults == {"lost": 1}
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], undisturbed(without, "ho_sfl"))


@MIXES
def test_a_node_that_comes_back_under_another_name_takes_its_place(without, made, absent_at_first) -> None:
    grid = mixed_grid(made, without, "heron")
    engine = mixed_federation(grid, "heron", min_clients=2)
    gone = grid.nodes.pop(11)
    assert engine.run_round().faults == {"absent": 1}
    gone.context.node_id = 4711
    come_back(engine, grid, gone)
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], absent_at_first(without, "heron"))


@MIXES
@pytest.mark.parametrize("case", rows(WRONG, QUICK))
def test_a_client_that_sends_it_is_as_good_as_absent(case, without, made, absent_at_first) -> None:
    bundle, (fault, edit) = case.partition(":")[0], WRONG[case]
    grid = mixed_grid(made, without, bundle)
    engine = mixed_federation(grid, bundle, min_clients=2)
    honest = node_of(grid, 1).tamper
    tamper(node_of(grid, 1), edit)
    result = engine.run_round()
    assert (result.faults, result.num_replies) == ({fault: 1}, 2)
    node_of(grid, 1).tamper = honest
    engine._nodes.wait_for([1], 1, 10.0)
    assert engine.run_round().faults == {}
    assert_equal(engine.state()[0], absent_at_first(without, bundle))


@MIXES
def test_a_node_whose_bundle_is_damaged_declines_and_the_others_go_on(without, made, tmp_path) -> None:
    """A node says one line for the log; the run goes on as without it."""
    grid = mixed_grid(made, without, "heron")
    node_of(grid, 1).context.node_config = {"partition-id": 1, "bundle": str(tmp_path), "data": str(tmp_path)}
    result = mixed_federation(grid, "heron", min_clients=2).run_round()
    assert (result.faults, result.num_replies) == ({"declined": 1}, 2)
