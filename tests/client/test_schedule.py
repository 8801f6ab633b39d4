"""A decaying rate: half a cosine over the run, the same for what is trained exactly, by probes and by replay."""

import math
from dataclasses import replace

import pytest
import torch

from heron.config import build_run, recipe_config
from heron.engines.in_process import Federation
from heron.wire.groups import Client, Settings
from heron.wire.learning import Learning
from tests.conformance.test_algorithms import examples, federation, partition, split_model, tensors_of
from tests.settings import changed

ROUNDS = 4


def test_the_rate_is_half_a_cosine() -> None:
    settings = Settings(rounds=ROUNDS, client=Client(learning_rate=0.2, schedule="cosine"))
    rates = [Learning(settings).rate(round_index) for round_index in range(ROUNDS)]
    assert rates == pytest.approx([0.2, 0.1 + 0.1 * math.cos(math.pi / 4), 0.1, 0.1 - 0.1 * math.cos(math.pi / 4)])
    assert Learning(replace(settings, client=Client(learning_rate=0.2))).rate(3) == 0.2


@pytest.mark.parametrize("name", ["heron", "heron, exact head", "cse_fsl", "sflv2", "fedavg", "ho_sfl", "hosl"])
def test_a_round_uses_its_rate(name: str) -> None:
    """The second round of a decaying run is that of a run whose constant rate has just this value."""
    decaying = federation(name, keep_state=False, schedule="cosine", rounds=ROUNDS)
    decaying.run_round()
    tensors, facts = decaying.state()
    start = {key: tensor.clone() for key, tensor in tensors.items()}
    decaying.run_round()
    settings = decaying.settings
    constant = changed(settings, schedule="constant", learning_rate=Learning(settings).rate(1))
    other = Federation(split_model(), decaying.algorithm, examples(), partition(), constant)
    other.load_state(start, facts)
    other.run_round()
    expected = tensors_of(decaying)
    for key, tensor in tensors_of(other).items():
        assert torch.equal(tensor, expected[key]), key


def test_the_configuration_decays_over_its_rounds() -> None:
    settings = build_run(recipe_config("digits", "heron", ["client.schedule=cosine", "rounds=7"]), None).federation
    assert settings.clients.learning.rate(7) == 0
