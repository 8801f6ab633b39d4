"""Layer groups of a causal language model: heads that score tokens, plain loops as oracle, and a federation."""

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from heron.algorithms import ALGORITHMS
from heron.client.round import finish
from heron.data import fetch
from heron.engines.in_process import Federation
from heron.errors import SplitError
from heron.seeds import StepKey
from heron.split import ClientPart, SplitModel, token_cross_entropy
from heron.wire.groups import Client, Server, Settings
from tests.lm.models import NUM_TOKENS, WIDTH
from tests.lm.rounds import stop_and_continue
from tests.lm.test_training import assert_same, build, examples, partition, two_rounds
from tests.settings import changed
from tests.tiers import rows

CUT = 2
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "local": ("local", {}),
    "exact": ("heron", {"learning": "local_exact"}),
    "probes": ("heron", {"learning": "local_zeroth_order"}),
    "exact heads": ("heron", {"learning": "local_zeroth_order", "exact": 1}),
}
EVERY = pytest.mark.parametrize("name", rows(CASES, {"local", "probes"}))
INPUTS = torch.randint(0, NUM_TOKENS, (3, 7), generator=torch.Generator().manual_seed(0))


def settings_of(name: str, **changes: Any) -> Settings:
    settings = Settings(client=Client(batch_size=4, learning_rate=1e-2), server=Server(learning_rate=1e-2))
    return changed(changed(settings, **changes), **CASES[name][1])


def equipped(source: str, name: str = "local", **options: Any) -> SplitModel:
    algorithm = ALGORITHMS[CASES[name][0]]
    return algorithm.equipped(build(source, CUT, **options), settings_of(name), INPUTS)


def federation(source: str, name: str, **changes: Any) -> Federation:
    algorithm = ALGORITHMS[CASES[name][0]]
    settings = settings_of(name, **changes)
    return Federation(build(source, CUT), algorithm, examples(), partition(), settings, token_cross_entropy)


@pytest.mark.parametrize("source", rows(["gpt2", "gpt2, untied", "opt", "llama"], {"gpt2"}))
@pytest.mark.parametrize("base", rows(["float32", "bfloat16", "int8"], {"float32"}))
def test_a_head_reads_a_block_as_the_last_one_with_the_models_own_weights(source: str, base: str, saved) -> None:
    split = equipped(saved(source), base=base)
    (head,) = split.local_heads
    trained = {name for name, parameter in head.named_parameters() if parameter.requires_grad}
    assert trained == {"translation.down.weight", "translation.up.weight", "translation.up.bias"}
    assert head.unembedding.weight is split.auxiliary.unembedding.weight
    hidden = torch.randn(3, 7, WIDTH)
    with torch.no_grad():
        expected = split.auxiliary.unembedding(split.auxiliary.norm(hidden))
        assert torch.equal(head(hidden).hidden_BTD, expected.hidden_BTD)
        head.translation.up.bias += 1.0
        moved = split.auxiliary.norm(hidden + 1.0)
        torch.testing.assert_close(head(hidden).hidden_BTD, moved)


def test_heads_of_a_part_are_those_of_the_whole(saved) -> None:
    whole, built = equipped(saved("gpt2")), build(saved("gpt2"), CUT)
    torch.manual_seed(99)
    part = ALGORITHMS["local"].equipped(ClientPart(built.client, built.auxiliary), settings_of("local"), INPUTS[:1])
    for (name, tensor), found in zip(whole.local_heads.named_parameters(), part.local_heads.parameters(), strict=True):
        assert torch.equal(found, tensor), name


def test_an_unembedding_that_trains_is_refused(saved) -> None:
    with pytest.raises(SplitError, match=r"a frozen unembedding where .* set split\.lora_rank") as caught:
        equipped(saved("gpt2"), lora_rank=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("micro_batch", [0, 2])
def test_equals_plain_loops(micro_batch: int, saved) -> None:
    """Steps of SGD on the loss of each group, whose inputs are data to it."""
    settings = settings_of("local", optimizer="sgd", learning_rate=0.1, micro_batch=micro_batch)
    split, oracle = equipped(saved("gpt2")), equipped(saved("gpt2"))
    _, learner = ALGORITHMS["local"].torch_client(split, token_cross_entropy, settings)
    groups = [(oracle.client[:2], oracle.local_heads[0]), (oracle.client[2:], oracle.auxiliary)]
    for number in range(3):
        batch = fetch(examples(), np.arange(4 * number, 4 * number + 4))
        step = learner.step(batch, StepKey(0, 0, 0, number))
        smashed = next(step)
        hidden = batch.inputs
        for layers, head in groups:
            hidden = layers(hidden.detach())
            loss = token_cross_entropy(head(hidden), batch.labels)
            tensors = [tensor for part in (layers, head) for tensor in part.parameters() if tensor.requires_grad]
            gradients = torch.autograd.grad(loss, tensors)
            with torch.no_grad():
                for tensor, gradient in zip(tensors, gradients, strict=True):
                    tensor -= 0.1 * gradient
        torch.testing.assert_close(smashed, hidden.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(float(finish(step).loss), float(loss.detach()), rtol=1e-5, atol=1e-6)
    for (name, found), expected in zip(split.named_parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6, msg=name)
    assert split.local_heads[0].translation.down.weight.abs().max() > 0


@EVERY
def test_learns_travels_and_leaves_the_heads_at_home(name: str, saved) -> None:
    reference, wire = (federation(saved("gpt2, dropout"), name, wire=wire) for wire in (False, True))
    losses = [two_rounds(parties) for parties in (reference, wire)]
    np.testing.assert_array_equal(*losses)
    assert_same(wire, reference)
    assert wire.ledger.to_dict() == reference.ledger.to_dict()
    assert losses[0][2] < losses[0][0]
    model = wire.fed_server.global_model()
    assert sum("translation" in key for key in model) == 3
    assert not any("unembedding" in key or "norm" in key for key in model)
    assert not any("local_heads" in key for key in wire.main_server.state())


@EVERY
def test_resumes_bit_for_bit(name: str, saved, tmp_path) -> None:
    whole, first, resumed = (federation(saved("gpt2, dropout"), name) for _ in range(3))
    two_rounds(whole)
    stop_and_continue(first, resumed, tmp_path)
    assert_same(resumed, whole)
