"""A private client of layer groups that learn exactly: one release for all groups, against plain loops; neighbours."""

import copy
import itertools
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.client.private import NOISE
from heron.client.private_exact_groups import PrivateExactGroupsClient
from heron.data import Batch
from heron.privacy import VectorMechanism
from heron.privacy.secret import Secret
from heron.privacy.vault import Vault
from heron.seeds import StepKey
from heron.split import SplitModel
from heron.wire.groups import Client, Settings
from heron.wire.learning import Learning
from heron.wire.privacy import Privacy
from tests.client.test_private_groups import examples, network, step_of
from tests.reference.private_exact_groups import private_exact_step
from tests.reference.private_groups import Plan

PLAN = Plan(rate=0.05, mu=0.0, probes=0, clip=1.5, noise=0.7, expected=4)
SECRET, RUN, ROUND, CLIENT = Secret(bytes(range(32))), 5, 1, 2
WAYS = pytest.mark.parametrize(
    ("name", "changes"), [("local", {}), ("heron", {"learning": "local_exact"})], ids=["local", "heron"]
)


def client(name: str = "local", **changes) -> tuple[SplitModel, PrivateExactGroupsClient]:
    facts = {"local_pool": 2, "keep_state": False, "optimizer": "sgd", "learning_rate": PLAN.rate} | changes
    settings = Settings(
        client=Client(batch_size=PLAN.expected, local_steps=3, exact_learning_rate=PLAN.rate, **facts),
        privacy=Privacy(noise=PLAN.noise, clip=PLAN.clip),
    )
    algorithm = ALGORITHMS[name]
    split = algorithm.equipped(network(), settings, torch.zeros(2, 1, 4, 4, dtype=torch.float64))
    runtime = algorithm.torch_runtime(split, cross_entropy, settings)
    learner = algorithm.client(runtime, Learning(algorithm.learning(settings).settings, vault=Vault(SECRET)))
    assert isinstance(learner, PrivateExactGroupsClient)
    return split, learner


@WAYS
@pytest.mark.parametrize("micro_batch", [0, 1, 3])
def test_steps_equal_plain_loops(name: str, changes: dict, micro_batch: int) -> None:
    split, learner = client(name, micro_batch=micro_batch, **changes)
    client_part, heads, auxiliary = copy.deepcopy((split.client, split.local_heads, split.auxiliary))
    layers = [client_part[start:stop] for start, stop in itertools.pairwise((0, 3, 6, 7))]
    groups = list(zip(layers, [*heads, auxiliary], strict=True))
    size = sum(tensor.numel() for pair in groups for part in pair for tensor in part.parameters())
    learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
    lengths = []
    for local_step, number in enumerate((7, 0, 4)):  # a batch is a sample, and may be empty
        batch = examples(number, local_step)
        pairs = [(batch.inputs[i : i + 1], batch.labels[i : i + 1]) for i in range(number)]
        normals = SECRET.of(CLIENT).normals((size,), NOISE, ROUND, local_step)
        expected, outputs = private_exact_step(groups, cross_entropy, pairs, PLAN, normals)
        found, smashed = step_of(learner, batch, local_step)
        np.testing.assert_allclose(found, expected, atol=1e-8)
        lengths.append(np.linalg.norm(found - PLAN.noise * PLAN.clip * normals / PLAN.expected))
        if number:
            torch.testing.assert_close(smashed, torch.cat(outputs))
        else:
            assert smashed is None
    module = nn.ModuleDict({"client": client_part, "local_heads": heads, "auxiliary": auxiliary})
    for parameter, tensor in module.state_dict().items():
        torch.testing.assert_close(learner.model()[parameter], tensor, rtol=0, atol=1e-8)
    assert lengths[0] > 1e-3 > 1e-7 > lengths[1]  # a batch without examples moves nothing but by noise


def test_an_example_moves_all_groups_together_by_at_most_the_clip() -> None:
    batch = examples(6)
    found, _ = step_of(client()[1], batch)
    moved = []
    for dropped in range(len(batch)):
        kept = [index for index in range(len(batch)) if index != dropped]
        fewer, _ = step_of(client()[1], Batch(batch.inputs[kept], batch.labels[kept]))
        moved.append(np.linalg.norm(found - fewer) * PLAN.expected / PLAN.clip)
    assert 0.99 < max(moved) <= 1 + 1e-6  # some are clipped


def test_gradients_of_one_micro_batch_are_held_at_a_time() -> None:
    """So the memory of a step does not grow with its batch."""
    clip, rows = VectorMechanism.clipped_sum, []

    def noted(self: VectorMechanism, vectors_BD: np.ndarray) -> np.ndarray:
        rows.append(len(vectors_BD))
        return clip(self, vectors_BD)

    with patch.object(VectorMechanism, "clipped_sum", noted):
        step_of(client(micro_batch=3)[1], examples(7))
    assert rows == [3, 3, 1]


def test_nothing_is_uploaded_between_uploads() -> None:
    _, learner = client(upload_period=2)
    assert step_of(learner, examples(4), 0)[1] is not None
    assert step_of(learner, examples(4), 1)[1] is None


@pytest.mark.parametrize("pieces", [1, 2])
def test_without_noise_and_clip_it_is_the_client_without_privacy(pieces: int) -> None:
    """Up to the grid: batches of the expected size, a clip that nothing reaches."""
    batch, size = examples(8), 8 // pieces
    settings = Settings(
        client=Client(
            batch_size=8, micro_batch=size, local_pool=2, optimizer="sgd", learning_rate=PLAN.rate, keep_state=False
        ),
    )
    algorithm = ALGORITHMS["local"]
    models: list[dict[str, Tensor]] = []
    for privacy in (Privacy(), Privacy(noise=1e-9, clip=100.0)):
        chosen = Settings(client=settings.client, privacy=privacy)
        split = algorithm.equipped(network(), chosen, torch.zeros(2, 1, 4, 4, dtype=torch.float64))
        runtime = algorithm.torch_runtime(split, cross_entropy, chosen)
        learner = algorithm.client(runtime, Learning(algorithm.learning(chosen).settings, vault=Vault(SECRET)))
        learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
        _finish(learner.step(batch, StepKey(RUN, ROUND, CLIENT, 0)))
        models.append({name: tensor.clone() for name, tensor in learner.model().items()})
    for name, tensor in models[0].items():
        torch.testing.assert_close(models[1][name], tensor, rtol=0, atol=1e-6)


def _finish(step: Iterator[object]) -> None:
    for _ in step:
        pass
