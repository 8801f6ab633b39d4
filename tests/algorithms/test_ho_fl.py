"""HO-FL against its literal oracle, its ends against other rows, and its control."""

import copy

import pytest
import torch
from torch import nn

from heron.algorithms import ALGORITHMS
from heron.costs.plan import largest_exact, plan_step
from heron.data import ExampleShape
from heron.errors import ConfigError, SplitError
from heron.split import SplitModel
from heron.wire import ScalarReply
from heron.wire.groups import Settings
from tests.algorithms.test_oracles import BATCH, NUM_CLIENTS, ROUNDS, SEED, order
from tests.algorithms.test_relative_oracles import CLIENT_RATE, MU, SHARES, federation, sent, worst
from tests.reference.whole_network import boundary_networks
from tests.settings import changed

ABOVE = {1: 6, 2: 4, 3: 2}
"""client.exact -> the first layer of the whole network that learns exactly."""


def deep_split() -> SplitModel:
    """Four layers with parameters, two on either side of the cut."""
    torch.manual_seed(3)
    client = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 3, padding=1), nn.Flatten())
    return SplitModel(client, nn.Sequential(nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 5)))


def whole_of(parties) -> list[torch.Tensor]:
    found = parties.load_global_model()
    return [*found.client.parameters(), *found.server.parameters()]


@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize("exact", [1, 2, 3])
@pytest.mark.parametrize("probes", [0, 1, 3])
def test_equals_the_literal_oracle(exact: int, probes: int, weighting: str) -> None:
    """A boundary behind the cut, at it, and before it; without probes it is the control whose bottom is frozen."""
    split = deep_split().double()
    layers = copy.deepcopy(nn.Sequential(*split.client, *split.server))
    parties = federation("ho_fl", split, exact=exact, estimator={"probes": probes}, clients={"weighting": weighting})
    expected = boundary_networks(
        layers,
        ABOVE[exact],
        *parties.dataset.tensors,
        order(SHARES),
        weights=[1.0] * NUM_CLIENTS if weighting == "equal" else [float(len(share)) for share in SHARES],
        rounds=ROUNDS,
        run_seed=SEED,
        mu=MU,
        probes=probes,
        rate=CLIENT_RATE,
    )
    for _ in range(ROUNDS):
        parties.run_round()
    assert worst(whole_of(parties), expected) <= 1e-12
    assert worst(whole_of(parties), [p.detach() for p in layers.parameters()]) > 1e-3


@pytest.mark.parametrize(("exact", "other"), [("all", "fedavg"), (4, "fedavg"), (0, "decomfl")])
def test_its_ends_are_other_rows(exact, other: str) -> None:
    """Everything exact is FedAvg; nothing is DeComFL, here with one seed group as there."""
    groups = {"seed_groups": 1} if other == "decomfl" else {}
    mine = federation("ho_fl", deep_split(), exact=exact, **groups)
    theirs = federation(other, deep_split())
    for parties in (mine, theirs):
        for _ in range(ROUNDS):
            parties.run_round()
    assert all(torch.equal(*pair) for pair in zip(whole_of(mine), whole_of(theirs), strict=True))


@pytest.mark.parametrize("exact", [1, 3])
def test_scalars_go_up_and_what_is_exact_beside_them(exact: int) -> None:
    parties = federation("ho_fl", deep_split(), exact=exact)
    replies = [message for message in sent(parties) if isinstance(message, ScalarReply)]
    assert [tuple(reply.projected_gradients.shape) for reply in replies] == [(4,), (8,), (6,)]
    names = [*replies[0].model]
    assert len(names) == 2 * exact
    assert "server.2.weight" in names
    assert ("client.2.weight" in names) is (exact == 3)
    assert set(parties.ledger.by_kind("uplink")) == {"scalars", "model", "framing"}


def test_without_probes_the_bottom_stays_and_does_not_travel() -> None:
    parties = federation("ho_fl", deep_split(), exact=2, estimator={"probes": 0})
    before = [p.detach().clone() for p in parties.split.client.parameters()]
    messages = sent(parties)
    found = parties.load_global_model()
    assert all(torch.equal(*pair) for pair in zip(found.client.parameters(), before, strict=True))
    assert all(
        set(message.model) == {f"server.{n}.{kind}" for n in (0, 2) for kind in ("weight", "bias")}
        for message in messages
    )


def test_a_memory_budget_chooses_among_all_modules() -> None:
    row, example = ALGORITHMS["ho_fl"], ExampleShape((1, 4, 4))
    settings = changed(Settings(), batch_size=BATCH)
    peaks = {
        exact: plan_step(deep_split, row, changed(settings, exact=exact), example).peak_memory_bytes
        for exact in range(5)
    }
    assert peaks[4] != peaks[0]
    for peak in peaks.values():
        largest = max(other for other, value in peaks.items() if value <= peak)
        assert largest_exact(deep_split, row, changed(settings, memory_budget=peak), example) == largest


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"exact": 5}, SplitError, r"client\.exact from 0 to 4, the 2 client layers with parameters and 2 further"),
        ({"learning": "local_exact"}, ConfigError, r"client\.learning=zeroth_order with ho_fl, found local_exact"),
        ({"exact": 0, "estimator": {"probes": 0}}, ConfigError, r"estimator\.probes of at least 1"),
        ({"exact": 1, "seed_groups": 1, "optimizer": "adam"}, ConfigError, r"client\.optimizer=sgd where seed groups"),
    ],
)
def test_what_has_no_place_is_refused(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        federation("ho_fl", deep_split(), **changes)
