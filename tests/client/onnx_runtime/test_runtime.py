"""Two runtimes, one truth: the steps of an exported client against those of PyTorch, and its replay."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.arrays import to_host
from heron.client.onnx_runtime import OnnxRuntime
from heron.client.round import finish
from heron.data import Batch
from heron.engines.in_process import Federation
from heron.seeds import StepKey
from tests.export.clients import batch, exported, group_net, norm_net, terms_of
from tests.settings import changed

KEY = StepKey(5, 0, 0, 0)


def pair(algorithm: str = "heron", network=norm_net, **changes):
    """The same client in both runtimes, at the same parameters."""
    split = network()
    bundle = exported(split, algorithm, **changes)
    settings = bundle.terms.settings
    row = ALGORITHMS[algorithm]
    _, ours = row.torch_client(split, cross_entropy, settings)
    lean = row.make_client(OnnxRuntime(bundle, settings.client), row.learning(settings))
    model = {name: to_host(array).copy() for name, array in ours.model().items()}
    for learner in (ours, lean):
        learner.load({name: array.copy() for name, array in model.items()}, {})
    return ours, lean


def step(learner, examples: Batch, answer=None):
    generator = learner.step(examples, KEY)
    smashed = to_host(next(generator)).copy()
    return smashed, finish(generator, answer)


@pytest.mark.parametrize("micro_batch", [0, 4])
@pytest.mark.parametrize("exact", [0, 1, 2])
def test_projected_gradients_agree_to_the_rounding_of_the_loss(exact: int, micro_batch: int) -> None:
    """A loss is rounded to float32, and its difference divided by mu: a few ulp(loss) / mu, however small it is."""
    mu = 1e-2
    changes = {"exact": exact, "optimizer": "sgd", "micro_batch": micro_batch, "estimator": {"mu": mu, "probes": 3}}
    ours, lean = pair(network=group_net if micro_batch else norm_net, **changes)
    (smashed, result), (lean_smashed, lean_result) = (step(learner, batch(10)) for learner in (ours, lean))
    np.testing.assert_allclose(lean_smashed, smashed, rtol=1e-5, atol=1e-5)
    loss = float(result.loss)
    assert abs(float(lean_result.loss) - loss) <= 4 * np.spacing(np.float32(loss))
    found, expected = (to_host(learner.last_step.projected_gradients_P) for learner in (lean, ours))
    # At a boundary the surrogate is summed in float64 from products in float32: its size counts, not that of the loss.
    scale = np.spacing(np.float32(max(abs(loss), 1.0)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=16 * scale / mu)
    for name, array in lean.runtime.buffers().items():
        np.testing.assert_allclose(array, to_host(ours.runtime.buffers()[name]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_exact_steps_agree(optimizer: str) -> None:
    # Below BatchNorm the gradient of a bias is rounding, which Adam would make large.
    ours, lean = pair(network=group_net, exact="all", optimizer=optimizer, learning_rate=1e-3)
    for seed in range(3):
        for learner in (ours, lean):
            step(learner, batch(8, seed))
    for name, array in lean.model().items():
        np.testing.assert_allclose(array, to_host(ours.model()[name]), rtol=1e-4, atol=2e-5, err_msg=name)
    assert lean.state().keys() == ours.state().keys()


def test_labels_that_do_not_count_are_left_out() -> None:
    ours, lean = pair(network=group_net, optimizer="sgd", micro_batch=3)
    examples = batch(9)
    examples.labels[:4] = -100
    (_, result), (_, lean_result) = (step(learner, examples) for learner in (ours, lean))
    assert float(lean_result.loss) == pytest.approx(float(result.loss), rel=1e-5)


def test_the_surrogate_of_a_cut_gradient_agrees() -> None:
    ours, lean = pair("ho_sfl", estimator={"mu": 1e-2})
    answer = np.random.default_rng(0).standard_normal((6, 6, 5, 5)).astype(np.float32)
    step(ours, batch(), torch.from_numpy(answer))
    step(lean, batch(), answer)
    found, expected = (to_host(learner.last_step.projected_gradients_P) for learner in (lean, ours))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_losses_of_single_examples_agree() -> None:
    ours, lean = pair()
    examples = batch()
    np.testing.assert_allclose(lean.runtime.losses(examples, 0), to_host(ours.runtime.losses(examples, 0)), rtol=1e-5)


def federation(runtime: str, **changes) -> Federation:
    split = norm_net()
    changes = {"optimizer": "sgd", "keep_state": False, "runtime": runtime, "batch_size": 6} | changes
    settings = changed(terms_of(split, "heron").settings, **changes)
    examples = batch(24)
    partition = [np.arange(12), np.arange(12, 24)]
    return Federation(split, ALGORITHMS["heron"], TensorDataset(examples.inputs, examples.labels), partition, settings)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_fed_server_replays_a_lean_client_bit_for_bit(optimizer: str) -> None:
    """Every round sends a digest; a client that held other bits would ask for a snapshot."""
    parties = federation("onnx", optimizer=optimizer, update="scalars", digest_period=1)
    said = []
    parties.listeners.append(lambda message, direction: said.append(type(message).__name__))
    for _ in range(3):
        parties.run_round()
    assert "SnapshotRequest" not in said
    assert said.count("ScalarReply") == 6


@pytest.mark.parametrize("exact", [0, 2])
def test_a_federation_of_lean_clients_sends_the_same_bytes_and_learns_the_same(exact: int) -> None:
    ours, lean = (federation(runtime, exact=exact) for runtime in ("torch", "onnx"))
    for _ in range(2):
        losses = [parties.run_round().client_loss for parties in (ours, lean)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert ours.ledger.by_kind("uplink") == lean.ledger.by_kind("uplink")
    assert ours.ledger.by_kind("downlink") == lean.ledger.by_kind("downlink")
    for name, tensor in ours.fed_server.global_model().items():
        torch.testing.assert_close(lean.fed_server.global_model()[name], tensor, rtol=1e-2, atol=1e-3)
