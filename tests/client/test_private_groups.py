"""A private client of layer groups: one release for all groups, against plain loops; neighbours and refusals."""

import copy
import itertools
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.client.private import NOISE
from heron.client.private_groups import PrivateGroupsClient
from heron.data import Batch
from heron.errors import ConfigError
from heron.metering import count_forwards
from heron.privacy import VectorMechanism
from heron.privacy.secret import Secret
from heron.privacy.vault import Vault
from heron.seeds import StepKey
from heron.split import SplitModel, linear_head
from heron.wire.groups import Client, Probes, Settings
from heron.wire.learning import Learning
from heron.wire.privacy import Privacy
from tests.reference.private_groups import Plan, private_step

PLAN = Plan(rate=0.05, mu=1e-3, probes=2, clip=6.0, noise=0.7, expected=4)
SECRET, RUN, ROUND, CLIENT, GROUPS = Secret(bytes(range(32))), 5, 1, 2, 3


def network() -> SplitModel:
    """Two groups of convolution, norm and activation, one of a convolution; in float64."""
    torch.manual_seed(2)
    layers = [
        *(nn.Conv2d(1, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.Tanh()),
        *(nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Tanh()),
        nn.Conv2d(4, 2, 3, padding=1),
    ]
    server = nn.Sequential(nn.Flatten(), nn.Linear(32, 5))
    return SplitModel(nn.Sequential(*layers), server, linear_head((2, 4, 4), 5)).double()


def client(**changes) -> tuple[SplitModel, PrivateGroupsClient]:
    facts = {"learning": "local_zeroth_order", "local_pool": 2, "keep_state": False, "optimizer": "sgd"} | changes
    settings = Settings(
        client=Client(batch_size=PLAN.expected, local_steps=3, learning_rate=PLAN.rate, **facts),
        privacy=Privacy(noise=PLAN.noise, clip=PLAN.clip),
        estimator=Probes(PLAN.mu, PLAN.probes),
    )
    algorithm = ALGORITHMS["heron"]
    split = algorithm.equipped(network(), settings, torch.zeros(2, 1, 4, 4, dtype=torch.float64))
    runtime = algorithm.torch_runtime(split, cross_entropy, settings)
    learner = algorithm.client(runtime, Learning(algorithm.learning(settings).settings, vault=Vault(SECRET)))
    assert isinstance(learner, PrivateGroupsClient)
    return split, learner


def examples(number: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(number, 1, 4, 4, generator=generator, dtype=torch.float64)
    return Batch(inputs, torch.randint(0, 5, (number,), generator=generator))


def step_of(learner: PrivateGroupsClient, batch: Batch, local_step: int = 0) -> tuple[np.ndarray, Tensor | None]:
    """Take a step, and note what is released."""
    released: list[np.ndarray] = []
    release = VectorMechanism.release

    def noted(self: VectorMechanism, *given: np.ndarray) -> np.ndarray:
        released.append(release(self, *given))
        return released[-1]

    with patch.object(VectorMechanism, "release", noted):
        step = learner.step(batch, StepKey(RUN, ROUND, CLIENT, local_step))
        smashed = next(step)
        with pytest.raises(StopIteration) as stop:
            step.send(None)
    assert stop.value.value.loss is None, "no loss leaves, which would not be noised"
    (only,) = released
    return only, smashed


@pytest.mark.parametrize("micro_batch", [0, 3])
def test_steps_equal_plain_loops(micro_batch: int) -> None:
    split, learner = client(micro_batch=micro_batch)
    bounds = (0, 3, 6, 7)
    client_part, heads, auxiliary = copy.deepcopy((split.client, split.local_heads, split.auxiliary))
    layers = [client_part[start:stop] for start, stop in itertools.pairwise(bounds)]
    groups = list(zip(layers, [*heads, auxiliary], strict=True))
    learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
    lengths = []
    for local_step, number in enumerate((7, 0, 4)):  # a batch is a sample, and may be empty
        batch = examples(number, local_step)
        pairs = [(batch.inputs[i : i + 1], batch.labels[i : i + 1]) for i in range(number)]
        normals = SECRET.of(CLIENT).normals((GROUPS * PLAN.probes,), NOISE, ROUND, local_step)
        expected, outputs = private_step(groups, cross_entropy, pairs, PLAN, (RUN, ROUND, CLIENT, local_step), normals)
        found, smashed = step_of(learner, batch, local_step)
        np.testing.assert_allclose(found, expected, atol=1e-8)
        lengths.append(np.linalg.norm(expected - PLAN.noise * PLAN.clip * normals / PLAN.expected))
        if number:
            torch.testing.assert_close(smashed, torch.cat(outputs))
        else:
            assert smashed is None
    module = nn.ModuleDict({"client": client_part, "local_heads": heads, "auxiliary": auxiliary})
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(learner.model()[name], tensor, rtol=0, atol=1e-9)
    assert lengths[0] > 0 == round(lengths[1], 9)


def test_an_example_moves_all_groups_together_by_at_most_the_clip() -> None:
    batch = examples(6)
    found, _ = step_of(client()[1], batch)
    moved = []
    for dropped in range(len(batch)):
        kept = [index for index in range(len(batch)) if index != dropped]
        fewer, _ = step_of(client()[1], Batch(batch.inputs[kept], batch.labels[kept]))
        moved.append(np.linalg.norm(found - fewer) * PLAN.expected / PLAN.clip)
    # Some examples are clipped, and no group alone has their norm.
    assert 0.99 < max(moved) <= 1 + 1e-6


def test_the_clean_pass_of_an_upload_gives_the_losses_that_probes_are_compared_with() -> None:
    split, learner = client()
    learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
    with count_forwards(split.client[0]) as forwards:
        step_of(learner, examples(4))
    assert forwards.count == PLAN.probes + 1


def test_nothing_is_uploaded_between_uploads() -> None:
    _, learner = client(upload_period=2)
    assert step_of(learner, examples(4), 0)[1] is not None
    assert step_of(learner, examples(4), 1)[1] is None


def test_exact_heads_of_groups_that_probe_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected client\.exact=0 with client\.learning=local_zeroth_order"):
        client(exact=1)
