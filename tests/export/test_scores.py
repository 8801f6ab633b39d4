"""Exported language models compute what PyTorch computes, at any length; what cannot be exported is refused by name."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.nn.functional import cross_entropy

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from heron.algorithms import ALGORITHMS
from heron.arrays import to_host
from heron.client.onnx_runtime import Bundle, OnnxRuntime, open_bundle
from heron.client.onnx_runtime.manifest import CLEAN, SLICE
from heron.client.round import finish
from heron.data import IGNORED, Batch
from heron.data.folder import model_folder
from heron.engines.in_process import Federation
from heron.errors import BundleError, ConfigError, DataError
from heron.export import client, export_client
from heron.lm import CausalLm
from heron.seeds import StepKey
from heron.split import token_cross_entropy
from tests.export.texts import exported, model, terms_of, texts
from tests.lm.models import NUM_POSITIONS, NUM_TOKENS, WIDTH
from tests.lm.test_training import examples, partition
from tests.settings import changed
from tests.tiers import rows

KEY = StepKey(5, 0, 0, 0)
NAMES = ["gpt2", "gpt2, untied", "opt", "opt, norm after", "llama", "llama, tied", "qwen2"]
ADAPTATIONS: dict[str, dict[str, Any]] = {
    "lora": {"lora_rank": 2},
    "lora everywhere": {"lora_rank": 2, "lora_layers": "all"},
    "all weights": {"lora_rank": 0},
    "bfloat16": {"lora_rank": 2, "base": "bfloat16"},
    "int8": {"lora_rank": 2, "base": "int8"},
}
"""Settings of what trains and of how the rest is stored."""
CASES = {
    f"{name}, {key}": (name, key)
    for name, key in [(name, "lora") for name in NAMES] + [("gpt2", key) for key in ADAPTATIONS]
}


@cache
def bundle_of(source: str, adaptation: str) -> Bundle:
    """Exported once; what is changed in the settings here is nothing that an export depends on."""
    return exported(model(source, **ADAPTATIONS[adaptation]))


def pair(source: str, adaptation: str = "lora", **changes: Any):
    """The same client in both runtimes, at the same parameters."""
    bundle = bundle_of(source, adaptation)
    settings = changed(bundle.terms.settings, **changes)
    row = ALGORITHMS["heron"]
    _, ours = row.torch_client(model(source, **ADAPTATIONS[adaptation]), token_cross_entropy, settings)
    lean = row.make_client(OnnxRuntime(bundle, settings.client), row.learning(settings))
    model_now = {name: to_host(array).copy() for name, array in ours.model().items()}
    for learner in (ours, lean):
        learner.load({name: array.copy() for name, array in model_now.items()}, {})
    return ours, lean


def step(learner, batch: Batch, answer=None):
    generator = learner.step(batch, KEY)
    smashed = to_host(next(generator)).copy()
    return smashed, finish(generator, answer)


@pytest.mark.parametrize("case", rows(CASES, ["gpt2, lora"]))
def test_loss_and_smashed_data_are_those_of_torch(case: str, saved: Callable[[str], str]) -> None:
    """At lengths and sizes of a batch that the export has not seen."""
    name, adaptation = CASES[case]
    ours, lean = pair(saved(name), adaptation)
    for size, length in ((1, 2), (5, 7), (2, NUM_POSITIONS)):
        batch = texts(size, length, seed=length)
        (smashed, loss), (lean_smashed, lean_loss) = (learner.runtime.clean(batch, 0) for learner in (ours, lean))
        np.testing.assert_allclose(lean_smashed, to_host(smashed), rtol=1e-5, atol=2e-5)
        assert lean_loss.dtype == np.float64
        assert abs(float(lean_loss) - float(loss)) <= 4 * np.spacing(np.float32(float(loss)))


@pytest.mark.parametrize("scheme", ["one_sided", "central"])
@pytest.mark.parametrize("micro_batch", [0, 1, 4])
@pytest.mark.parametrize("name", rows(["gpt2", "opt"], ["gpt2"]))
def test_projected_gradients_agree_to_the_rounding_of_the_loss(
    name: str, micro_batch: int, scheme: str, saved: Callable[[str], str]
) -> None:
    """A position's loss is a difference of scores in float32: off by a few ulp of itself, and so is their mean.

    The difference of two such losses, divided by mu, is off by twice as many ulp(loss) / mu, however small it is.
    """
    mu = 1e-2
    estimator = {"mu": mu, "probes": 3, "scheme": scheme}
    ours, lean = pair(saved(name), optimizer="sgd", micro_batch=micro_batch, estimator=estimator)
    (_, result), (_, lean_result) = (step(learner, texts(6, 11, seed=1)) for learner in (ours, lean))
    loss = float(result.loss)
    assert abs(float(lean_result.loss) - loss) <= 4 * np.spacing(np.float32(loss))
    found, expected = (to_host(learner.last_step.projected_gradients_P) for learner in (lean, ours))
    np.testing.assert_allclose(found, expected, rtol=0, atol=8 * np.spacing(np.float32(loss)) / mu)
    assert np.abs(expected).max() > 100 * np.spacing(np.float32(loss)) / mu, "a tolerance that would let all pass"


def test_positions_that_do_not_count_are_not_scored(saved: Callable[[str], str], monkeypatch) -> None:
    """Neither their hidden states nor their tokens change a loss; a batch of none has the loss 0."""
    _, lean = pair(saved("gpt2"))
    seen = []
    network = lean.runtime._network
    plain = network._scores._graph.run
    monkeypatch.setattr(network._scores._graph, "run", lambda feed, names: seen.append(feed) or plain(feed, names))
    batch = texts(3, 8)
    lean.runtime.loss(batch, 0)
    counted = int((batch.labels != IGNORED).sum())
    assert {feed["hidden"].shape for feed in seen} == {(counted, WIDTH)}
    nothing = Batch(batch.inputs, torch.full_like(batch.labels, IGNORED))
    assert lean.runtime.loss(nothing, 0) == 0


@pytest.mark.parametrize("num_rows", [1, 7, NUM_TOKENS - 1, NUM_TOKENS, 1000])
def test_the_size_of_slices_changes_rounding_alone(num_rows: int, saved: Callable[[str], str], monkeypatch) -> None:
    from heron.client.onnx_runtime import scores as sliced

    _, lean = pair(saved("gpt2"))
    batch = texts(3, 8)
    whole = float(lean.runtime.loss(batch, 0))
    monkeypatch.setattr(sliced, "_NUM_SCORES", 0)
    monkeypatch.setattr(sliced, "_MIN_ROWS", num_rows)
    assert float(lean.runtime.loss(batch, 0)) == pytest.approx(whole, rel=3e-7)


def test_the_losses_of_single_examples_are_refused_as_in_torch(saved: Callable[[str], str]) -> None:
    ours, lean = pair(saved("gpt2"))
    for learner in (ours, lean):
        with pytest.raises(ConfigError, match="reduction='none'"):
            learner.runtime.losses(texts(), 0)


def test_a_tied_table_is_stored_once(saved: Callable[[str], str], tmp_path) -> None:
    split = model(saved("gpt2"), lora_rank=2)
    manifest = export_client(split, terms_of(split), texts(), tmp_path / "b", criterion=token_cross_entropy)
    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest == manifest
    assert manifest.unembedding == "client.embedding.tokens.weight"
    assert (manifest.longest, manifest.inputs.shape) == (NUM_POSITIONS, (9,))
    assert set(bundle.graphs) == {CLEAN, SLICE}
    assert "auxiliary.unembedding.weight" not in bundle.frozen
    assert max(map(len, bundle.graphs.values())) < 200_000, "no weights in a graph"


@pytest.mark.slow
def test_a_tied_table_that_trains_is_one_parameter(saved: Callable[[str], str]) -> None:
    bundle = exported(model(saved("gpt2"), lora_rank=0))
    assert bundle.manifest.unembedding in {term.name for term in bundle.manifest.probed}
    assert not bundle.frozen


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "files"), [("ho_sfl", {CLEAN}), ("frozen", {CLEAN, SLICE})])
def test_other_clients_of_a_language_model(algorithm: str, files: set[str], saved: Callable[[str], str]) -> None:
    split = model(saved("gpt2"), lora_rank=2)
    changes = {"optimizer": ALGORITHMS[algorithm].optimizers[0]}
    bundle = exported(split, algorithm, **changes)
    assert set(bundle.graphs) <= files
    assert bundle.manifest.longest == NUM_POSITIONS


@pytest.mark.parametrize(
    ("algorithm", "changes", "message"),
    [
        ("heron", {"exact": 1}, "an exported language model to learn from probes alone, found exact gradients"),
        ("heron", {"exact": "all"}, "found exact gradients"),
        ("cse_fsl", {}, "found exact gradients"),
        ("sflv2", {}, "sflv2: expected clients that learn from probes"),
    ],
)
def test_exact_gradients_are_refused(algorithm: str, changes: dict, message: str, saved: Callable[[str], str]) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        exported(model(saved("gpt2"), lora_rank=2), algorithm, **changes)
    assert "\n" not in str(caught.value)


def test_dropout_is_refused(saved: Callable[[str], str]) -> None:
    with pytest.raises(BundleError, match="without randomness"):
        exported(model(saved("gpt2, dropout"), lora_rank=2))


def test_another_criterion_is_refused(saved: Callable[[str], str]) -> None:
    split = model(saved("gpt2"), lora_rank=2)

    def own(outputs, labels):
        return cross_entropy(outputs.scores().flatten(0, 1), labels.flatten())

    with pytest.raises(BundleError, match="token_cross_entropy"):
        export_client(split, terms_of(split), texts(), model_folder("nowhere"), criterion=own)


@pytest.mark.slow
def test_a_wrong_slice_would_be_found(saved: Callable[[str], str], monkeypatch) -> None:
    """The export is compared with torch on the spot."""
    right = client.slice_graph

    def wrong(table):
        model = onnx.load_model_from_string(right(table))
        product = next(node for node in model.graph.node if node.op_type == "Gemm")
        product.attribute.append(onnx.helper.make_attribute("alpha", 1.001))
        return model.SerializeToString()

    monkeypatch.setattr(client, "slice_graph", wrong)
    with pytest.raises(BundleError, match=r"loss .*differs by"):
        exported(model(saved("gpt2"), lora_rank=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.inputs.__setitem__((0, 0), -1), rf"tokens in \[0, {NUM_TOKENS}\), found -1"),
        (lambda found: found.inputs.__setitem__((0, 0), NUM_TOKENS), rf"tokens in \[0, {NUM_TOKENS}\)"),
        (lambda found: found.labels.__setitem__((0, 4), NUM_TOKENS), rf"labels in \[0, {NUM_TOKENS}\) or -100"),
        (lambda found: found.labels.__setitem__((0, 4), -1), "labels in"),
    ],
)
def test_what_is_no_token_is_refused(change: Callable, message: str, saved: Callable[[str], str]) -> None:
    _, lean = pair(saved("gpt2"))
    batch = texts()
    change(batch)
    with pytest.raises((DataError, BundleError), match=message) as caught:
        lean.runtime.loss(batch, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_sequences_that_are_too_long_are_refused(saved: Callable[[str], str]) -> None:
    """Rotations would go on without a word."""
    _, lean = pair(saved("llama"))
    with pytest.raises(DataError, match=f"at most {NUM_POSITIONS} tokens"):
        lean.runtime.smash(texts(2, NUM_POSITIONS + 1), 0)


def federation(runtime: str, source: str, base: str = "float32", **changes: Any) -> Federation:
    split = model(source, lora_rank=2, base=base)
    changes = {"optimizer": "sgd", "keep_state": False, "runtime": runtime, "batch_size": 4, "micro_batch": 2} | changes
    settings = changed(terms_of(split).settings, **changes)
    return Federation(split, ALGORITHMS["heron"], examples(), partition(), settings, criterion=token_cross_entropy)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["float32", "int8"])
def test_a_federation_of_lean_clients_sends_the_same_bytes_and_learns_the_same(
    base: str, saved: Callable[[str], str]
) -> None:
    ours, lean = (federation(runtime, saved("gpt2"), base) for runtime in ("torch", "onnx"))
    for _ in range(2):
        losses = [parties.run_round().client_loss for parties in (ours, lean)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert ours.ledger.by_kind("uplink") == lean.ledger.by_kind("uplink")
    assert ours.ledger.by_kind("downlink") == lean.ledger.by_kind("downlink")
    for name, tensor in ours.fed_server.global_model().items():
        torch.testing.assert_close(lean.fed_server.global_model()[name], tensor, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("optimizer", rows(["sgd", "adam"], ["adam"]))
def test_the_fed_server_replays_a_lean_client_bit_for_bit(optimizer: str, saved: Callable[[str], str]) -> None:
    """Every round sends a digest; a client that held other bits would ask for a snapshot."""
    parties = federation("onnx", saved("gpt2"), optimizer=optimizer, update="scalars", digest_period=1)
    said = []
    parties.listeners.append(lambda message, direction: said.append(type(message).__name__))
    for _ in range(3):
        parties.run_round()
    assert "SnapshotRequest" not in said
    assert said.count("ScalarReply") == 9


@pytest.mark.slow
@pytest.mark.skipif(not (model_folder("gpt2-mini") / "config.json").exists(), reason="needs gpt2-mini: set HERON_DATA")
def test_gpt2_mini() -> None:
    """The real table of 50,257 tokens, in some 25 slices."""
    split = CausalLm(pretrained="gpt2-mini", cut=2, lora_layers="all").network()
    batch = texts(3, 40, num_tokens=50_257)
    bundle = exported(split, example=batch, micro_batch=1)
    lean = OnnxRuntime(bundle, bundle.terms.settings.client)
    ours = ALGORITHMS["heron"].torch_runtime(split, token_cross_entropy, bundle.terms.settings)
    lean.theta.load_({name: to_host(tensor) for name, tensor in ours.theta.named_tensors().items()})
    (smashed, loss), (lean_smashed, lean_loss) = (runtime.clean(batch, 0) for runtime in (ours, lean))
    np.testing.assert_allclose(lean_smashed, to_host(smashed), rtol=1e-4, atol=1e-4)
    assert abs(float(lean_loss) - float(loss)) <= 4 * np.spacing(np.float32(float(loss)))
