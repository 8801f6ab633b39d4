"""A private client whose head learns exactly: two vectors, each clipped by itself, with noise for both together."""

import math

import numpy as np
import pytest
import torch

from heron.arrays import to_host
from heron.client.private import HEAD_NOISE, NOISE, PrivateHeadClient
from heron.client.torch_runtime.example_gradients import example_gradients
from heron.data import Batch
from heron.errors import ConfigError
from heron.privacy import Releases, noise_for, seen_epsilon
from heron.wire.groups import Settings
from heron.wire.learning import Learning
from heron.wire.privacy import Privacy
from tests.client.test_private import (
    CLIP,
    EXPECTED,
    KEY,
    NOISE_MULTIPLIER,
    PROBES,
    SECRET,
    by_hand,
    client,
    examples,
    parameters,
)

HEAD_CLIP = 1.0  # the default


def released(batch: Batch, **changes) -> tuple[np.ndarray, np.ndarray]:
    """The released projected gradients and the gradient of the head, from what a step of SGD with rate 1 changes."""
    _, learner = client("heron", exact=1, learning_rate=1e-3, exact_learning_rate=1.0, **changes)
    assert isinstance(learner, PrivateHeadClient)
    learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
    before = parameters(learner._exact.parameters()).copy()
    step = learner.step(batch, KEY)
    next(step)
    with pytest.raises(StopIteration) as stop:
        step.send(None)
    assert stop.value.value.loss is None
    scalars = to_host(learner.last_step.projected_gradients_P).astype(np.float64)
    return scalars, before - parameters(learner._exact.parameters())


def noise_of(purpose: str, size: int) -> np.ndarray:
    drawn = SECRET.of(KEY.client_id).normals((size,), purpose, KEY.round_index, KEY.local_step)
    return NOISE_MULTIPLIER * math.sqrt(2.0) * drawn


@pytest.mark.parametrize("micro_batch", [0, 2])
def test_the_heads_gradient_has_the_closed_form_of_its_norm_and_is_clipped_by_it(micro_batch: int) -> None:
    """||g_i||^2 = ||delta_i||^2 (||h_i||^2 + 1), for a linear layer with a bias under cross-entropy."""
    batch = examples()
    runtime, _ = client("heron", exact=1)
    module = runtime.local.module
    with torch.no_grad():
        features = module["auxiliary"][:-1](module["client"](batch.inputs))
        delta = torch.softmax(module["auxiliary"][-1](features), 1)
        delta -= torch.nn.functional.one_hot(batch.labels, 3)
    sizes = (delta.square().sum(1) * (features.square().sum(1) + 1)).sqrt().numpy()
    total = 0.0
    for index in range(len(batch)):
        gradient = np.concatenate([torch.outer(delta[index], features[index]).numpy().ravel(), delta[index].numpy()])
        assert np.linalg.norm(gradient) == pytest.approx(sizes[index])
        total = total + gradient * min(1.0, HEAD_CLIP / sizes[index])
    assert (sizes > HEAD_CLIP).any()
    expected = (total + HEAD_CLIP * noise_of(HEAD_NOISE, len(total))) / EXPECTED
    _, found = released(batch, micro_batch=micro_batch)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_probes_are_those_of_the_loss_below_the_head() -> None:
    batch = examples()
    vectors = np.zeros((len(batch), PROBES))
    runtime, learner = client("heron", exact=1)
    theta, seeds = runtime.theta, learner.probed.directions(KEY)
    assert theta.theta.numel() < sum(tensor.numel() for tensor in runtime.tensors().values())
    for index in range(len(batch)):
        one = Batch(batch.inputs[index : index + 1], batch.labels[index : index + 1])
        clean = float(runtime.loss(one, 0).detach())
        for probe, seed in enumerate(seeds):
            with theta.probing():
                theta.perturb_(seed, 1e-3, "rademacher")
                vectors[index, probe] = (float(runtime.loss(one, 0).detach()) - clean) / 1e-3
            theta.restore_()
    norms = np.linalg.norm(vectors, axis=1)
    clipped = vectors * np.minimum(1.0, CLIP / norms)[:, None]
    expected = (clipped.sum(0) + CLIP * noise_of(NOISE, PROBES)) / EXPECTED
    np.testing.assert_allclose(released(batch)[0], expected, atol=1e-8)
    assert by_hand(batch).shape == vectors.shape


@pytest.mark.parametrize("micro_batch", [0, 1])
def test_neighbouring_batches_move_both_by_at_most_what_the_noise_is_for(micro_batch: int) -> None:
    """In units of the noise for one part, 1 / sqrt(2) of each clip, both together move by at most 1."""
    batch = examples(5)
    base = released(batch, micro_batch=micro_batch)
    moved = []
    for dropped in range(len(batch)):
        kept = [index for index in range(len(batch)) if index != dropped]
        other = released(Batch(batch.inputs[kept], batch.labels[kept]), micro_batch=micro_batch)
        parts = [np.linalg.norm(one - two) * EXPECTED for one, two in zip(base, other, strict=True)]
        assert parts[0] <= CLIP * (1 + 1e-6)
        assert parts[1] <= HEAD_CLIP * (1 + 1e-6)
        moved.append(math.hypot(parts[0] / CLIP, parts[1] / HEAD_CLIP) / math.sqrt(2.0))
    assert 0.3 < max(moved) <= 1 + 1e-6


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_two_parts_with_the_noise_of_one_would_spend_more_than_is_claimed(epsilon: float) -> None:
    noise = noise_for(epsilon, lambda noise: seen_epsilon(Releases(1, 1.0, noise), 1e-5))
    privacy = Privacy(noise=noise)
    parts = [Learning(Settings(privacy=privacy)).mechanism(num_parts=number) for number in (1, 2)]
    for mechanism, holds in zip(parts, (False, True), strict=True):
        joint = mechanism.noise / math.sqrt(2.0)  # two parts, each of which an example moves by a clip
        assert (seen_epsilon(Releases(1, 1.0, joint), 1e-5) <= epsilon) == holds


def test_an_empty_batch_releases_noise_alone() -> None:
    scalars, gradient = released(Batch(np.zeros(0, np.float32), np.zeros(0, np.int64)))
    np.testing.assert_allclose(scalars, CLIP * noise_of(NOISE, PROBES) / EXPECTED, atol=1e-8)
    np.testing.assert_allclose(gradient, HEAD_CLIP * noise_of(HEAD_NOISE, len(gradient)) / EXPECTED, atol=1e-8)


def test_more_than_a_head_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected client\.exact of 0 or 1 and client\.learning=zeroth_order"):
        client("heron", exact=2)


def test_the_closed_form_is_that_of_torchs_function_transforms_and_holds_a_few_examples() -> None:
    batch = examples()
    runtime, _ = client("heron", exact=1)
    tensors = runtime.local.tensors_of(batch)
    (expected,) = example_gradients(runtime.local, runtime.exact._parameters, tensors)
    found = list(runtime.exact.example_gradients(batch))
    assert max(len(piece) for piece in found) * 3 * 32 <= 1024
    np.testing.assert_allclose(torch.cat(found).numpy(), expected.detach().numpy(), atol=1e-12)
    ignored = batch.labels.clone()
    ignored[3] = -100
    (row,) = torch.cat(list(runtime.exact.example_gradients(Batch(batch.inputs, ignored))))[3:4]
    assert not row.any()


def test_a_head_without_a_closed_form_has_gradients_by_torchs_transforms() -> None:
    runtime, _ = client("heron", exact=1)
    runtime.exact._boundary.head_above[0] = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert sum(len(piece) for piece in runtime.exact.example_gradients(examples())) == 7
