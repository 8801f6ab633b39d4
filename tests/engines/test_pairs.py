"""A batch of one example under BatchNorm joins the batch before it, or is refused before the first round."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.data import batch_indices
from heron.engines.in_process import Federation
from heron.errors import ConfigError, DataError
from heron.seeds import derive_seed
from heron.split import SplitModel, linear_head
from heron.wire import SmashedData
from heron.wire.groups import Client, Clients, Settings
from heron.wire.terms import decode_terms, encode_terms
from tests.settings import changed

INPUTS = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
LABELS = (INPUTS.sum(1) > 0).long()


class Squeezed(nn.Linear):
    """A layer that forgets the batch dimension of one example."""

    def forward(self, inputs):
        return super().forward(inputs).squeeze()


def network(where: str) -> SplitModel:
    torch.manual_seed(0)
    norm = {name: nn.BatchNorm1d(5) if name == where else nn.Identity() for name in ("client", "auxiliary", "server")}
    last = Squeezed(5, 2) if where == "squeezed" else nn.Linear(5, 2)
    return SplitModel(
        nn.Sequential(nn.Linear(6, 5), norm["client"]),
        nn.Sequential(norm["server"], nn.ReLU(), last),
        nn.Sequential(norm["auxiliary"], linear_head((5,), 2)),
    )


def federation(
    where: str, sizes: list[int], algorithm: str = "heron", criterion=cross_entropy, **changes
) -> Federation:
    settings = changed(Settings(rounds=2, clients=Clients(total=len(sizes)), client=Client(batch_size=8)), **changes)
    if "adam" not in ALGORITHMS[algorithm].optimizers:
        settings = changed(settings, optimizer="sgd")
    shares = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    data = TensorDataset(INPUTS[: sum(sizes)], LABELS[: sum(sizes)])
    return Federation(network(where), ALGORITHMS[algorithm], data, shares, settings, criterion)


def uploads(parties: Federation) -> list[int]:
    """Number of examples of every upload of a round."""
    found = []
    parties.listeners.append(
        lambda message, _: found.append(len(message.labels)) if isinstance(message, SmashedData) else None
    )
    parties.run_round()
    return found


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("where", ["client", "server", "auxiliary", "squeezed"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_trains_with_a_last_batch_of_one(algorithm: str, where: str, wire: bool) -> None:
    parties = federation(where, [17, 16, 9], algorithm, wire=wire)
    result = parties.run_round()
    assert parties.client_examples == 17 + 16 + 9
    assert result.num_replies == 3
    assert decode_terms(encode_terms(parties.servers.terms)) == parties.servers.terms


def test_the_last_example_joins_the_batch_before() -> None:
    parties = federation("client", [17, 16, 9])
    assert parties.servers.terms.pairs == "all"
    assert uploads(parties) == [8, 9, 8, 8, 9]
    seed = derive_seed("batches", 0, 0, 0)
    assert [len(batch) for batch in batch_indices(17, 8, None, seed, joins=True)] == [8, 9]


@pytest.mark.parametrize("where", ["none", "client", "server"])
@pytest.mark.parametrize("sizes", [[16, 8], [18, 3]])
def test_nothing_changes_where_no_batch_has_one_example(where: str, sizes: list[int]) -> None:
    parties = federation(where, sizes)
    assert uploads(parties) == [len(batch) for n in sizes for batch in np.split(np.arange(n), range(8, n, 8))]


def test_a_network_that_works_with_one_example_gets_one() -> None:
    parties = federation("none", [17])
    assert parties.servers.terms.pairs == "none"
    assert uploads(parties) == [8, 8, 1]
    spatial = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.BatchNorm2d(1), nn.Flatten())  # six values of a channel
    split = SplitModel(spatial, nn.Linear(6, 2), linear_head((6,), 2))
    shares = [np.arange(17)]
    parties = Federation(
        split, ALGORITHMS["cse_fsl"], TensorDataset(INPUTS, LABELS), shares, changed(Settings(), batch_size=8)
    )
    assert uploads(parties) == [8, 8, 1]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(2, [8, 8]), (3, [8, 9, 8]), (5, [8, 9, 8, 9, 8])],
)
def test_a_batch_that_is_never_reached_leaves_the_others_alone(steps: int, expected: list[int]) -> None:
    assert uploads(federation("client", [17], local_steps=steps)) == expected


@pytest.mark.parametrize(("period", "expected"), [(1, [8, 9]), (2, [8]), (3, [8])])
def test_a_server_s_layer_counts_uploads_alone(period: int, expected: list[int]) -> None:
    """Of three steps the last has one example; with a period of three it is not uploaded."""
    parties = federation("server", [17], upload_period=period)
    assert parties.servers.terms.pairs == "uploads"
    assert uploads(parties) == expected
    assert parties.servers.terms.joins(17) == (period < 3)


def test_layers_that_an_algorithm_does_not_use_do_not_count() -> None:
    assert federation("auxiliary", [17], "sflv2").servers.terms.pairs == "none"
    assert federation("server", [17], "fedavg").servers.terms.pairs == "all"
    assert federation("auxiliary", [17], server={"refresh_auxiliary": True}).servers.terms.pairs == "all"
    assert federation("none", [17], "fsl_sage").servers.terms.pairs == "none"


def test_a_criterion_that_needs_two() -> None:
    def with_logit_of_class_1(outputs, labels):
        return binary_cross_entropy_with_logits(outputs[:, 1:].squeeze(), labels.float())

    for algorithm, pairs in (("heron", "all"), ("sflv2", "uploads")):
        parties = federation("none", [17], algorithm, with_logit_of_class_1)
        assert parties.servers.terms.pairs == pairs
        assert uploads(parties) == [8, 9]


def test_a_client_of_one_example_is_named() -> None:
    message = r"^expected at least 2 examples of every client, found 1 of client 1 \(and 1 others\): the BatchNorm "
    with pytest.raises(DataError, match=message + r"'client.1' does not work with one example; use GroupNorm, lower"):
        federation("client", [9, 1, 8, 1])
    with pytest.raises(DataError, match=r"client 0: the network or its loss does not work with one example"):
        federation("squeezed", [1, 8])
    federation("none", [9, 1])


def test_a_client_of_one_example_that_never_takes_part() -> None:
    sizes = [8] * 5 + [1]
    clients = {"per_round": 1}
    drawn = {
        tuple(federation("none", sizes, clients=clients, seed=seed).servers.all_participants()[0]) for seed in range(4)
    }
    assert len(drawn) > 1
    seeds = range(12)
    refused = []
    for seed in seeds:
        taking_part = federation("none", sizes, clients=clients, seed=seed).servers.all_participants()
        try:
            federation("client", sizes, clients=clients, seed=seed)
        except DataError:
            refused.append(seed)
        assert (seed in refused) == any(5 in chosen for chosen in taking_part)
    assert 0 < len(refused) < len(seeds)


def test_batches_of_one_example_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^expected client.batch_size of at least 2, found 1: the BatchNorm 'server.0'"
    ):
        federation("server", [8], batch_size=1)
    federation("none", [3], batch_size=1).run_round()
