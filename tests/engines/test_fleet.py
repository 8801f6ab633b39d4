"""Clients whose boundaries differ: the mean over whoever trained, against an oracle, uniform runs and themselves."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.config.devices import link_model
from heron.costs.operations import StepFlops
from heron.data import Splits
from heron.engines.in_process import Federation
from heron.engines.profile import profile_client
from heron.errors import ConfigError, MessageError
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from heron.split import SplitModel, linear_head
from heron.wire import ClientReply, ModelBroadcast, Reply, ScalarReply, encode
from heron.wire.groups import Client, Probes, Server, Settings
from heron.wire.network import DeviceProfile, Network
from heron.wire.terms import decode_terms, encode_terms
from tests.algorithms.test_ho_fl import ABOVE, deep_split, whole_of
from tests.algorithms.test_oracles import NUM_CLIENTS, ROUNDS, SEED, order
from tests.algorithms.test_relative_oracles import CLIENT_RATE, MU, SHARES, federation, worst
from tests.conformance.test_algorithms import assert_equal, comparable, tensors_of
from tests.reference.fleet import fleet_networks
from tests.settings import changed


def devices(*exact: Any, budgets: tuple[int, ...] = (0,) * 9) -> Network:
    """A class of devices for each client."""
    return Network(
        devices=tuple(
            DeviceProfile(f"device{number}", 1.0, 1.0, 1.0, 1.0, 0.0, (number,), budget, one)
            for number, (one, budget) in enumerate(zip(exact, budgets, strict=False))
        )
    )


def fleet(name: str, split: SplitModel, *exact: Any, **changes: Any) -> Federation:
    return federation(name, split, exact="device", link=devices(*exact), **changes)


def split_of_three() -> SplitModel:
    """Three client modules with parameters, the auxiliary network included, and a BatchNorm."""
    torch.manual_seed(5)
    client = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Tanh(), nn.Conv2d(3, 2, 3, padding=1))
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(32, 5)), linear_head((2, 4, 4), 5))


def model_of(parties: Federation) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in sorted(parties.fed_server.global_model().items())}


@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize("exact", [(1, 3, 2), (3, 1, 1)])
@pytest.mark.parametrize("probes", [0, 2])
def test_ho_fl_equals_the_literal_oracle(exact: tuple[int, ...], probes: int, weighting: str) -> None:
    """Without probes the first layers are trained by some clients, or by nobody: there they stay."""
    split = deep_split().double()
    layers = copy.deepcopy(nn.Sequential(*split.client, *split.server))
    parties = fleet("ho_fl", split, *exact, estimator={"probes": probes}, clients={"weighting": weighting})
    expected = fleet_networks(
        layers,
        [ABOVE[one] for one in exact],
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


@pytest.mark.parametrize("update", ["dense", "scalars"])
@pytest.mark.parametrize(("exact", "probes"), [((0, 2, 1), 2), ((1, 4, 2), 0), ((3, "all", 1), 1)])
def test_a_round_of_heron_is_the_mean_of_what_uniform_runs_reply(
    exact: tuple[Any, ...], probes: int, update: str
) -> None:
    """Client i of the fleet does what it does in a run where all have its boundary; the mean is taken by hand."""
    if update == "scalars" and (probes == 0 or "all" in exact):
        pytest.skip("nothing to send as scalars")
    replies: list[dict[str, torch.Tensor]] = []
    for client_id, one in enumerate(exact):
        alone = federation("heron", split_of_three(), exact=one, estimator={"probes": probes})
        heard: list[tuple[int, dict[str, torch.Tensor]]] = []
        alone.listeners.append(lambda message, _, heard=heard: heard.extend(_copied(message)))
        alone.run_round()
        replies += [model for sender, model in heard if sender == client_id]
    parties = fleet("heron", split_of_three(), *exact, estimator={"probes": probes}, update=update)
    before = model_of(parties)
    parties.run_round()
    for name, found in model_of(parties).items():
        values = [reply[name] for reply in replies if name in reply]
        assert len(values) in ({3} if probes else {0, 1, 2, 3})
        mean = sum(values[1:], values[0]) / len(values) if values else before[name]
        if found.dtype.is_floating_point:
            assert torch.equal(found, mean), name
        else:
            assert torch.equal(found, torch.stack(values).max())


def _copied(message: Any) -> list[tuple[int, dict[str, torch.Tensor]]]:
    """The tensors of a reply as they are now; the next client learns in their place."""
    if not isinstance(message, ClientReply):
        return []
    return [(message.client_id, {name: torch.as_tensor(array).clone() for name, array in message.model.items()})]


@pytest.mark.parametrize("name", ["heron", "ho_fl"])
@pytest.mark.parametrize("changes", [{}, {"estimator": {"probes": 0}}, {"optimizer": "adam"}])
def test_equal_boundaries_are_the_uniform_run_bit_for_bit(name: str, changes: dict) -> None:
    uniform = federation(name, deep_split() if name == "ho_fl" else split_of_three(), exact=1, **changes)
    alike = fleet(name, deep_split() if name == "ho_fl" else split_of_three(), 1, 1, 1, **changes)
    for _ in range(3):
        expected, found = uniform.run_round(), alike.run_round()
        assert (found.client_loss, found.num_replies) == (expected.client_loss, expected.num_replies)
    assert_equal(model_of(alike), model_of(uniform))
    if name == "heron":
        assert_equal(tensors_of(alike), tensors_of(uniform))


TASK = torch.randn(60, 1, 4, 4, generator=torch.Generator().manual_seed(2))
DATA = TensorDataset(TASK, (TASK.sum((1, 2, 3)) > 0).long())
FLEETS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "heron, no probes": ("heron", (1, "all", 2), {"estimator": {"probes": 0}}),
    "heron, scalars": ("heron", (0, 2, 1), {"update": "scalars", "keep_state": False}),
    "heron, int8": ("heron", (0, 2, 1), {"update_codec": "int8"}),
    "heron, int8, no probes": ("heron", (1, 3, 2), {"update_codec": "int8", "estimator": {"probes": 0}}),
    "heron, FedAdam": ("heron", (1, 3, 2), {"estimator": {"probes": 0}, "fed_server": {"optimizer": "adam"}}),
    "heron, bundles": ("heron", (0, 4, 2), {"link": {"bundle": True}}),
    "heron, layer groups": ("heron", (0, 1, "all"), {"learning": "local_zeroth_order"}),
    "ho_fl": ("ho_fl", (0, 1, 3), {}),
    "ho_fl, int8": ("ho_fl", (1, 3, 2), {"update_codec": "int8"}),
}
EVERY = pytest.mark.parametrize("name", FLEETS)


def run(name: str, directory: RunDirectory | None = None, rounds: int = 3, **changes: Any) -> Run:
    algorithm, exact, own = FLEETS[name]
    settings = Settings(
        client=Client(batch_size=8, learning_rate=3e-2, exact="device"),
        estimator=Probes(probes=2),
        server=Server(learning_rate=1e-2),
        link=devices(*exact),
    )
    split = deep_split() if algorithm == "ho_fl" else split_of_three()
    settings = changed(changed(settings, **own), **changes)
    shares = np.split(np.arange(60), [20, 36])
    parties = Federation(split, ALGORITHMS[algorithm], DATA, shares, settings)
    splits = Splits(train=DATA, validation=DATA, test=DATA, num_classes=5)
    return Run(parties, splits, rounds=rounds, directory=directory)


@EVERY
def test_wire_equals_reference_bit_for_bit(name: str) -> None:
    reference, wire = run(name), run(name, wire=True)
    assert comparable(reference.train()) == comparable(wire.train())
    assert_equal(tensors_of(wire.federation), tensors_of(reference.federation))
    assert wire.federation.ledger.to_dict() == reference.federation.ledger.to_dict()


@EVERY
def test_resumes_bit_for_bit(name: str, tmp_path) -> None:
    whole = run(name, RunDirectory(tmp_path / "whole"), clients={"per_round": 2})
    whole.train()
    run(name, RunDirectory(tmp_path / "cut"), rounds=1, clients={"per_round": 2}).train()
    resumed = run(name, RunDirectory(tmp_path / "cut"), clients={"per_round": 2})
    assert resumed.restore() == 1
    resumed.train()
    assert comparable(resumed.directory.read_metrics()) == comparable(whole.directory.read_metrics())
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()


@pytest.mark.parametrize("name", ["heron, no probes", "ho_fl"])
def test_the_ledger_counts_what_each_client_sends(name: str) -> None:
    """Up go a client's scalars and the tensors of its own terms; down goes everything that anybody trains."""
    parties = run(name).federation
    encoded = {"uplink": 0, "downlink": 0}

    def weigh(message: Any, direction: str) -> None:
        encoded[direction] += len(encode(message))

    parties.listeners.append(weigh)
    parties.run_round()
    assert (parties.ledger.uplink_bytes, parties.ledger.downlink_bytes) == (encoded["uplink"], encoded["downlink"])
    fleet = parties.servers.fleet
    up = scalars = 0
    for client_id, steps in enumerate((3, 2, 3)):
        terms = fleet.member(client_id).terms
        sizes = {term.name: int(np.prod(term.shape)) * (8 if term.dtype == "int64" else 4) for term in terms.tensors}
        up += sum(sizes[sent] for sent in terms.sent_back)
        scalars += 4 + (steps * 2 * 4 if terms.replayed else 0)
    everything = sum(tensor.nbytes for tensor in parties.fed_server.global_model().values())
    uplink, downlink = parties.ledger.by_kind("uplink"), parties.ledger.by_kind("downlink")
    assert (uplink["model"], uplink["scalars"], downlink["model"]) == (up, scalars, 3 * everything)
    assert len({len(fleet.member(client_id).terms.sent_back) for client_id in range(3)}) > 1


def test_terms_of_a_client_declare_its_own_boundary() -> None:
    fleet = run("ho_fl").federation.servers.fleet
    found = [fleet.member(client_id).terms for client_id in range(3)]
    assert [terms.settings.client.exact for terms in found] == [0, 1, 3]
    assert [len(terms.replayed) for terms in found] == [8, 6, 2]
    assert len({frozenset(term.name for term in terms.tensors) for terms in found}) == 1
    for terms in found:
        assert decode_terms(encode_terms(terms)) == terms
    fleet = run("heron, no probes").federation.servers.fleet
    frozen = [fleet.member(client_id).terms.names("downlink_only") for client_id in range(3)]
    assert [len(names) for names in frozen] == [
        6,
        0,
        4,
    ]  # two convolutions and a BatchNorm; what others train is received


def test_a_reply_of_another_boundary_is_refused() -> None:
    parties = run("ho_fl").federation
    heard: list[Reply] = []
    parties.listeners.append(lambda message, _: heard.append(message) if isinstance(message, Reply) else None)
    parties.run_round()
    first, second, _ = heard
    assert isinstance(first, ScalarReply)
    with pytest.raises(MessageError, match=r"should be absent"):
        parties.fed_server.check(ScalarReply(0, 0, *_rest(second)))
    with pytest.raises(MessageError, match="expected a ScalarReply, found ClientReply"):
        parties.fed_server.check(ClientReply(0, 0, first.num_examples, first.num_steps, first.train_loss, first.model))
    parties.fed_server.check(first)


def _rest(reply: ScalarReply) -> tuple[Any, ...]:
    return reply.num_examples, reply.num_steps, reply.train_loss, reply.projected_gradients, reply.model


def test_each_client_is_sent_a_snapshot_and_holds_nothing() -> None:
    parties = run("ho_fl").federation
    heard: list[Any] = []
    parties.listeners.append(lambda message, _: heard.append(message))
    parties.run_round()
    parties.run_round()
    assert not [
        message for message in heard if "Broadcast" in type(message).__name__ and type(message) is not ModelBroadcast
    ]
    assert parties.state()[1]["held"] == {}


def test_members_cost_what_their_boundary_costs() -> None:
    parties = run("heron, no probes").federation
    peaks = [profile_client(parties, repeats=1, client_id=client_id).peak_memory_bytes for client_id in range(3)]
    for client_id, one in enumerate((1, "all", 2)):
        alone = run("heron, no probes", exact=one, link=Network()).federation
        assert profile_client(alone, repeats=1).peak_memory_bytes == peaks[client_id]
    assert len(set(peaks)) == 3


def test_simulated_time_counts_the_operations_of_each_boundary() -> None:
    link = devices(0, 2, 0)
    settings = changed(Settings(), exact="device", link={"devices": link.devices, "client_gflops": 1.0})
    asked: list[Any] = []

    def count(own: Settings) -> StepFlops:
        asked.append(own.client.exact)
        return StepFlops((10 + int(own.client.exact),), (), 32)

    model = link_model(settings, count)
    assert sorted(asked) == [0, 2]
    assert [model.flops_of(client_id).client for client_id in range(3)] == [(10,), (12,), (10,)]


MASKED = {
    "secure_sum": True,
    "update": "scalars",
    "seed_groups": 1,
    "optimizer": "sgd",
    "update_codec": "fp32",
    "local_steps": 2,
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fed_server": {"aggregation": "median"}}, "expected fed_server.aggregation=mean with client.exact=device"),
        ({"fed_server": {"max_norm": 1.0}}, "expected fed_server.max_norm=0"),
        ({"fed_server": {"max_scalar": 1.0}}, "expected fed_server.max_scalar=0"),
        ({"seed_groups": 2, "optimizer": "sgd"}, "expected seed_groups=0"),
        (MASKED, "expected secure_sum=false with client.exact=device"),
        ({"runtime": "onnx"}, "expected client.runtime=torch with client.exact=device"),
        ({"learning": "local_exact"}, "expected client.learning=zeroth_order or local_zeroth_order with client.exact"),
        ({"learning": "local_zeroth_order"}, "class 'device1': expected exact of 0, 1 or all with client.learning"),
        ({"link": {"devices": ()}}, "expected classes of devices in link.profile with client.exact=device"),
        ({"exact": 0, "memory_budget": "device"}, "expected client.memory_budget as a number here, found device"),
    ],
)
def test_what_a_fleet_cannot_have_is_refused_by_name(changes: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        run("heron, int8", **changes)
    assert len(str(caught.value).splitlines()) == 1


def test_an_algorithm_without_a_boundary_ignores_it() -> None:
    uniform, other = (federation("cse_fsl", split_of_three(), **more) for more in ({}, {"exact": "device"}))
    uniform.run_round()
    other.run_round()
    assert_equal(model_of(other), model_of(uniform))
