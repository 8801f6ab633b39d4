"""Tiny classifiers of texts in a federation: every kind of client learns, resumes and travels; the oracle is uncut."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from heron.algorithms import ALGORITHMS
from heron.engines.in_process import Federation
from heron.lm import TextClassifier
from heron.split import SplitModel, with_local_heads
from heron.wire.groups import Client, Server, Settings
from tests import tiers
from tests.lm.classifiers import CLASSES, NUM_TOKENS, PAD, WIDTH, save
from tests.lm.rounds import stop_and_continue
from tests.settings import changed

SIZES, LENGTH = (8, 5, 7), 8
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ("heron", "local", "cse_fsl", "sflv2", "fedavg")},
    "ho_sfl": ("ho_sfl", {"optimizer": "sgd", "learning_rate": 0.01}),  # it has SGD only
    "heron, scalars": ("heron", {"update": "scalars", "keep_state": False}),
    "heron, local zeroth order": ("heron", {"learning": "local_zeroth_order"}),
}
EVERY = pytest.mark.parametrize("name", tiers.rows(ROWS, ("heron", "local", "sflv2")))


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> str:
    return save("bert", tmp_path_factory.mktemp("bert"))


def examples(count: int = sum(SIZES)) -> TensorDataset:
    """Texts of many lengths whose first word is their class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % CLASSES
    ids = torch.randint(2 + CLASSES, NUM_TOKENS, (count, LENGTH), generator=generator)
    ids[:, 0] = 2 + labels
    lengths = torch.randint(1, LENGTH + 1, (count, 1), generator=generator)
    return TensorDataset(torch.where(torch.arange(LENGTH) < lengths, ids, PAD), labels)


def build(source: str, **changes: Any) -> SplitModel:
    return TextClassifier(**{"pretrained": source, "num_classes": CLASSES, "cut": 2, "lora_rank": 2} | changes).build(1)


def federation(source: str, name: str, split: dict[str, Any] | None = None, **changes: Any) -> Federation:
    algorithm, own = ROWS[name]
    settings = Settings(client=Client(batch_size=4, learning_rate=5e-3), server=Server(learning_rate=5e-3))
    settings = changed(changed(settings, **changes), **own)
    shares = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])
    return Federation(build(source, **split or {}), ALGORITHMS[algorithm], examples(), shares, settings)


def losses(parties: Federation, rounds: int = 2) -> list[float]:
    results = [parties.run_round() for _ in range(rounds)]
    return [value for result in results for value in (result.client_loss, result.server_loss)]


def assert_same(found: Federation, expected: Federation) -> None:
    tensors, others = found.state()[0], expected.state()[0]
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in others.items())
    assert found.ledger.to_dict() == expected.ledger.to_dict()


def mean_loss(split: SplitModel) -> float:
    ids, labels = examples().tensors
    with torch.no_grad():
        return float(cross_entropy(split(ids), labels))


@EVERY
def test_learns_a_toy_task(name: str, bert: str) -> None:
    parties = federation(bert, name)
    before = mean_loss(parties.load_global_model())
    losses(parties, rounds=8)
    assert mean_loss(parties.load_global_model()) < 0.9 * before


@EVERY
def test_wire_equals_reference_bit_for_bit(name: str, bert: str) -> None:
    reference, wire = (federation(bert, name, wire=wire) for wire in (False, True))
    np.testing.assert_array_equal(losses(reference), losses(wire))
    assert_same(wire, reference)


@EVERY
def test_resumes_bit_for_bit(name: str, bert: str, tmp_path) -> None:
    whole, first, resumed = (federation(bert, name) for _ in range(3))
    losses(whole)
    stop_and_continue(first, resumed, tmp_path)
    assert_same(resumed, whole)


@pytest.mark.parametrize("name", ["heron", "local"])
@pytest.mark.parametrize("options", [{"base": "int8"}, {"lora_rank": 0}], ids=["int8", "all"])
def test_narrow_and_whole_models_learn(name: str, options: dict[str, Any], bert: str) -> None:
    assert all(map(np.isfinite, losses(federation(bert, name, options))))


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("cut", [2, 5])
def test_sflv2_with_one_client_trains_end_to_end(family: str, cut: int, tmp_path) -> None:
    """The oracle: the uncut model of the library with its attention mask, in float64, one optimiser."""
    from transformers import AutoModelForSequenceClassification

    source, data, steps, rate = save(family, tmp_path), examples(6), 4, 0.05
    split = build(source, pooling="first", lora_rank=0, cut=cut).double()
    settings = Settings(
        client=Client(batch_size=6, local_steps=steps // 2, optimizer="sgd", learning_rate=rate),
        server=Server("sgd", rate),
    )
    parties = Federation(split, ALGORITHMS["sflv2"], data, [np.arange(6)], settings)
    oracle = AutoModelForSequenceClassification.from_pretrained(source, dtype=torch.float64)
    optimizer, expected = torch.optim.SGD(oracle.parameters(), lr=rate), []
    ids, labels = data.tensors
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(oracle(ids, attention_mask=(ids != PAD).long()).logits, labels)
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    found = [parties.run_round().server_loss for _ in range(2)]
    assert found == pytest.approx([np.mean(expected[:2]), np.mean(expected[2:])], rel=1e-9)
    assert expected[-1] < expected[0] - 1e-3


def test_local_heads_leave_padding_out(bert: str) -> None:
    """A head that averaged over all positions would see how far a text is padded."""
    ids = examples(6).tensors[0]
    longer = torch.cat([ids, torch.full((len(ids), 4), PAD)], dim=1)
    split = with_local_heads(build(bert, cut=3).eval(), ids, seed=0)
    assert len(split.local_heads) == 2
    layers = list(split.client)
    hidden = [layers[1](layers[0](given)) for given in (ids, longer)]
    for layer, head in zip(layers[2:], split.local_heads, strict=True):
        scores = [head(states) for states in hidden]
        assert scores[0].shape == (6, CLASSES)
        assert head.classifier.in_features == WIDTH
        torch.testing.assert_close(*scores, atol=1e-5, rtol=1e-5)
        hidden = [layer(states) for states in hidden]
