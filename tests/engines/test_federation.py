"""The in-process engine: what is alive while clients probe, and what is refused."""

import gc
import weakref

import numpy as np
import pytest
import torch

from heron.algorithms import ALGORITHMS
from heron.engines.in_process import Federation
from heron.errors import ConfigError, TrainingError
from heron.wire.groups import Client, Settings
from tests.conformance.test_algorithms import examples, federation, partition, split_model
from tests.tiers import rows


@pytest.mark.parametrize("wire", rows([False, True], {True}))
@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("heron", "train"),
        pytest.param("ho_sfl", "answer", marks=pytest.mark.slow),
        pytest.param("hosl", "answer", marks=pytest.mark.slow),
    ],
)
def test_no_smashed_data_is_alive_while_a_client_probes(name: str, handler: str, wire: bool) -> None:
    """Through the whole chain: client, channel, link, round, Main Server."""
    parties = federation(name, wire=wire)
    alive: list[weakref.ref] = []
    probes: list[bool] = []
    handle = getattr(parties.main_server, handler)

    def handle_and_watch(upload):
        # An array that was received owns its memory.
        alive.append(weakref.ref(upload.smashed if wire else upload.smashed.untyped_storage()))
        return handle(upload)

    def before_forward(*_: object) -> None:
        if alive:
            gc.collect()
            probes.append(all(reference() is None for reference in alive))

    setattr(parties.main_server, handler, handle_and_watch)
    parties.split.client.register_forward_pre_hook(before_forward)
    parties.run_round()
    assert len(probes) >= len(alive) - 1 > 0
    assert all(probes)


def test_more_participants_than_clients_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"clients\.per_round from 1 to clients\.total = 3, found 4"):
        federation("heron", clients={"per_round": 4})


def test_an_update_that_is_not_finite_names_the_client() -> None:
    data = examples()
    inputs = data.tensors[0].clone()
    inputs[partition()[1]] = torch.nan
    poisoned = torch.utils.data.TensorDataset(inputs, data.tensors[1])
    settings = Settings(client=Client(batch_size=8))
    parties = Federation(split_model(), ALGORITHMS["heron"], poisoned, partition(), settings)
    with pytest.raises(TrainingError, match="client 1 in round 1"):
        parties.run_round()


def test_participants_do_not_depend_on_the_process_wide_generator() -> None:
    np.random.seed(0)  # noqa: NPY002 - the generator that must not matter
    first = federation("heron", clients={"per_round": 1}).participants(3)
    np.random.seed(1)  # noqa: NPY002
    assert federation("heron", clients={"per_round": 1}).participants(3) == first
