"""A private client's step: neighbouring batches, micro-batches, and what is released."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.arrays import to_host
from heron.client.private import NOISE
from heron.client.torch_runtime.example_gradients import example_gradients
from heron.data import Batch
from heron.metering import count_forwards
from heron.privacy.secret import Secret
from heron.privacy.vault import Vault
from heron.seeds import StepKey
from heron.split import SplitModel, linear_head
from heron.wire.groups import Client, Probes, Settings
from heron.wire.learning import Learning
from heron.wire.privacy import Privacy

CLIP, GRADIENT_CLIP, NOISE_MULTIPLIER, EXPECTED, PROBES, MU = 8.0, 0.05, 0.7, 4, 3, 1e-3
FIRST_ORDER = ("cse_fsl", "fedavg")
KEY = StepKey(0, 2, 1, 4)
SECRET = Secret(bytes(range(32)))


def examples(number: int = 7) -> Batch:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(number, 1, 4, 4, generator=generator, dtype=torch.float64)
    return Batch(inputs, torch.arange(number) % 3)


def client(name: str = "heron", **changes):
    torch.manual_seed(1)
    part = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(1, 2), nn.Tanh())
    split = SplitModel(part, nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), linear_head((2, 4, 4), 3)).double()
    settings = Settings(
        client=Client(batch_size=EXPECTED, local_steps=6, optimizer="sgd", keep_state=False, **changes),
        privacy=Privacy(noise=NOISE_MULTIPLIER, clip=GRADIENT_CLIP if name in FIRST_ORDER else CLIP),
        estimator=Probes(MU, PROBES),
    )
    algorithm = ALGORITHMS[name]
    runtime = algorithm.torch_runtime(split, cross_entropy, settings)
    learning = Learning(algorithm.learning(settings).settings, vault=Vault(SECRET))
    return runtime, algorithm.client(runtime, learning)


def released(batch: Batch, name: str = "heron", **changes) -> tuple[np.ndarray, Tensor | None]:
    _, learner = client(name, **changes)
    learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
    step = learner.step(batch, KEY)
    smashed = next(step)
    with pytest.raises(StopIteration) as stop:
        step.send(None)
    assert stop.value.value.loss is None, "no loss leaves, which would not be noised"
    return to_host(learner.last_step.projected_gradients_P).astype(np.float64), smashed


def value(loss: Tensor) -> float:
    return float(loss.detach())


def by_hand(batch: Batch) -> np.ndarray:
    """Each example's vector of probe differences, one example and one probe at a time."""
    runtime, learner = client()
    theta, seeds = runtime.theta, learner.probed.directions(KEY)
    vectors = np.zeros((len(batch), PROBES))
    for index in range(len(batch)):
        one = Batch(batch.inputs[index : index + 1], batch.labels[index : index + 1])
        clean = value(runtime.loss(one, 0))
        for probe, seed in enumerate(seeds):
            with theta.probing():
                theta.perturb_(seed, MU, "rademacher")
                vectors[index, probe] = (value(runtime.loss(one, 0)) - clean) / MU
            theta.restore_()
    return vectors


def test_the_release_is_the_clipped_sum_of_single_examples_with_the_secrets_noise() -> None:
    batch = examples()
    vectors = by_hand(batch)
    norms = np.linalg.norm(vectors, axis=1)
    assert (norms > CLIP).any()
    assert (norms < CLIP).any()
    clipped = vectors * np.minimum(1.0, CLIP / norms)[:, None]
    noise = SECRET.of(KEY.client_id).normals((PROBES,), NOISE, KEY.round_index, KEY.local_step)
    expected = (clipped.sum(0) + NOISE_MULTIPLIER * CLIP * noise) / EXPECTED
    found, smashed = released(batch)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert smashed is not None
    assert len(smashed) == len(batch)


@pytest.mark.parametrize("name", ["heron", "decomfl"])
@pytest.mark.parametrize("micro_batch", [0, 1, 2, 3])
def test_neighbouring_batches_move_the_release_by_at_most_the_clip(name: str, micro_batch: int) -> None:
    batch = examples()
    base, _ = released(batch, name, micro_batch=micro_batch)
    for dropped in range(len(batch)):
        kept = [index for index in range(len(batch)) if index != dropped]
        fewer = Batch(batch.inputs[kept], batch.labels[kept])
        other, _ = released(fewer, name, micro_batch=micro_batch)
        # float64 losses: kernels that depend on the batch's size round by some 1e-12 of a projected gradient.
        assert np.linalg.norm(base - other) * EXPECTED <= CLIP * (1 + 1e-6)


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_micro_batches_change_nothing(micro_batch: int) -> None:
    np.testing.assert_allclose(released(examples(), micro_batch=micro_batch)[0], released(examples())[0], atol=1e-8)


def test_an_empty_batch_releases_noise_and_uploads_nothing() -> None:
    found, smashed = released(Batch(np.zeros(0, np.float32), np.zeros(0, np.int64)))
    noise = SECRET.of(KEY.client_id).normals((PROBES,), NOISE, KEY.round_index, KEY.local_step)
    np.testing.assert_allclose(found, NOISE_MULTIPLIER * CLIP * noise / EXPECTED, atol=1e-8)
    assert smashed is None


def test_an_example_whose_loss_is_not_finite_is_left_out_and_not_told() -> None:
    batch = examples()
    broken = batch.inputs.clone()
    broken[2] = float("nan")
    kept = [index for index in range(len(batch)) if index != 2]
    found, _ = released(Batch(broken, batch.labels))
    expected, _ = released(Batch(batch.inputs[kept], batch.labels[kept]))
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_steps_without_an_upload_make_no_pass_for_it() -> None:
    assert released(examples(), upload_period=4)[1] is not None
    assert released(examples(), upload_period=3)[1] is None


@pytest.mark.parametrize("upload_period", [3, 4])
def test_a_step_makes_one_clean_pass_whether_or_not_it_uploads(upload_period: int) -> None:
    runtime, learner = client(upload_period=upload_period)
    learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
    with count_forwards(runtime.local.module["client"]) as forwards:
        for _ in learner.step(examples(), KEY):
            pass
    assert forwards.count == PROBES + 1


def parameters(model: dict) -> np.ndarray:
    return np.concatenate([to_host(array).ravel() for array in model.values()])


def first_order_step(batch: Batch, name: str, **changes) -> np.ndarray:
    """The released gradient, from what a step of SGD with rate 1 changes."""
    _, learner = client(name, learning_rate=1.0, **changes)
    learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
    before = parameters(learner.model()).copy()
    step = learner.step(batch, KEY)
    smashed = next(step)
    assert (smashed is None) == (name == "fedavg" or not len(batch))
    with pytest.raises(StopIteration) as stop:
        step.send(None)
    assert stop.value.value.loss is None
    return before - parameters(learner.model())


@pytest.mark.parametrize("micro_batch", [0, 2])
@pytest.mark.parametrize("name", FIRST_ORDER)
def test_gradients_of_single_examples_are_clipped_summed_and_noised(name: str, micro_batch: int) -> None:
    batch = examples()
    runtime, _ = client(name)
    total = 0.0
    for index in range(len(batch)):
        runtime.local.module.zero_grad()
        one = Batch(batch.inputs[index : index + 1], batch.labels[index : index + 1])
        with torch.enable_grad():
            runtime.local.loss_pass(runtime.local.tensors_of(one), 0).backward()
        gradient = parameters({key: tensor.grad for key, tensor in runtime.local.module.named_parameters()})
        norm = np.linalg.norm(gradient)
        assert norm > GRADIENT_CLIP
        total = total + gradient * GRADIENT_CLIP / norm
    noise = SECRET.of(KEY.client_id).normals(total.shape, NOISE, KEY.round_index, KEY.local_step)
    expected = (total + NOISE_MULTIPLIER * GRADIENT_CLIP * noise) / EXPECTED
    np.testing.assert_allclose(first_order_step(batch, name, micro_batch=micro_batch), expected, atol=1e-8)
    trained = dict(runtime.local.module.named_parameters())
    (each,) = example_gradients(runtime.local, trained, runtime.local.tensors_of(batch))
    assert each.shape == (len(batch), len(expected))
    np.testing.assert_allclose(to_host(each)[-1], gradient, atol=1e-12)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_neighbouring_batches_move_a_first_order_step_by_at_most_the_clip(name: str) -> None:
    batch = examples(4)
    base = first_order_step(batch, name)
    for dropped in range(len(batch)):
        kept = [index for index in range(len(batch)) if index != dropped]
        other = first_order_step(Batch(batch.inputs[kept], batch.labels[kept]), name, micro_batch=1)
        assert 0 < np.linalg.norm(base - other) * EXPECTED <= GRADIENT_CLIP * (1 + 1e-6)
    empty = first_order_step(Batch(np.zeros(0, np.float32), np.zeros(0, np.int64)), name)
    noise = SECRET.of(KEY.client_id).normals(empty.shape, NOISE, KEY.round_index, KEY.local_step)
    np.testing.assert_allclose(empty, NOISE_MULTIPLIER * GRADIENT_CLIP * noise / EXPECTED, atol=1e-8)
