"""Tiny language models in a federation: every algorithm, what travels, what is exact, what it costs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")


from heron.algorithms import ALGORITHMS
from heron.client.round import finish
from heron.client.torch_runtime.network import LocalNetwork, TensorBatch
from heron.costs.client_step import ExampleShape, StepCost
from heron.costs.plan import plan_step
from heron.costs.profile import profile_step
from heron.data import Batch, TokenSequences, fetch
from heron.engines.in_process import Federation
from heron.errors import HeronError
from heron.lm import Adaptation, causal_lm, whole_model
from heron.seeds import StepKey
from heron.split import SplitModel, build_seeded, num_counted, token_cross_entropy
from heron.wire import CutGradient, ModelBroadcast, Reply, SmashedData
from heron.wire.groups import Client, Server, Settings
from heron.zo import Estimator, FlatParameters
from tests.lm.models import NUM_BLOCKS, NUM_TOKENS, WIDTH
from tests.lm.rounds import stop_and_continue
from tests.settings import changed

SIZES = (8, 5, 7)
BATCH, RANK = 4, 2
BASES = ["float32", "bfloat16", "int8"]
# These clients have SGD only.
OWN: dict[str, dict[str, Any]] = {
    name: {"optimizer": "sgd", "learning_rate": 0.1} for name, row in ALGORITHMS.items() if row.optimizers == ("sgd",)
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "heron, exact head": ("heron", {"exact": 1}),
    "heron, exact head and block": ("heron", {"exact": 2}),
    "heron, all exact": ("heron", {"exact": "all"}),
    "heron, jvp": ("heron", {"estimator": {"scheme": "jvp"}}),
}
ROWS = {name: (name, OWN.get(name, {})) for name in ALGORITHMS} | VARIANTS
EVERY = pytest.mark.parametrize("name", list(ROWS))


def examples(count: int = sum(SIZES)) -> TokenSequences:
    """Prompts and continuations of many lengths: no two examples count alike."""
    generator = np.random.default_rng(0)

    def words(low: int, high: int) -> list[int]:
        return generator.integers(0, NUM_TOKENS, generator.integers(low, high)).tolist()

    return TokenSequences([(words(1, 6), words(1, 9)) for _ in range(count)], pad=0)


def partition() -> list[np.ndarray]:
    return np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])


def build(source: str, cut: int = 1, blocks: int = 1, **options) -> SplitModel:
    """A cut model whose LoRA has begun to learn, so that all of it matters."""
    adaptation = Adaptation(**{"lora_rank": RANK} | options)
    split = build_seeded(
        lambda: causal_lm(source, num_client_blocks=cut, num_auxiliary_blocks=blocks, adaptation=adaptation), 1
    )
    generator = torch.Generator().manual_seed(5)
    for name, parameter in split.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return split


def federation(source: str, name: str, split: dict[str, Any] | None = None, **changes) -> Federation:
    algorithm, client_changes = ROWS[name]
    settings = Settings(client=Client(batch_size=BATCH, learning_rate=1e-2), server=Server(learning_rate=1e-2))
    settings = changed(changed(settings, **changes), **client_changes)
    return Federation(
        build(source, **split or {}), ALGORITHMS[algorithm], examples(), partition(), settings, token_cross_entropy
    )


def two_rounds(parties: Federation) -> list[float]:
    results = [parties.run_round() for _ in range(2)]
    return [value for result in results for value in (result.client_loss, result.server_loss)]


def assert_same(found: Federation, expected: Federation) -> None:
    tensors, others = found.state()[0], expected.state()[0]
    assert tensors.keys() == others.keys()
    assert tensors
    for name, tensor in others.items():
        assert torch.equal(tensors[name], tensor), name


@EVERY
def test_wire_equals_reference_bit_for_bit(name: str, saved) -> None:
    reference, wire = (federation(saved("gpt2, dropout"), name, wire=wire) for wire in (False, True))
    before = {key: tensor.clone() for key, tensor in reference.state()[0].items()}
    losses = two_rounds(reference)
    np.testing.assert_array_equal(losses, two_rounds(wire))
    assert_same(wire, reference)
    assert wire.ledger.to_dict() == reference.ledger.to_dict()
    after = reference.state()[0]
    learnt = [key for key, tensor in before.items() if not torch.equal(tensor, after[key])]
    assert learnt, "something was learnt"


@pytest.mark.parametrize(
    ("name", "base"), [*((name, "float32") for name in ROWS), ("heron", "int8"), ("cse_fsl", "int8"), ("sflv2", "int8")]
)
def test_resumes_bit_for_bit(name: str, base: str, saved, tmp_path) -> None:
    whole, first, resumed = (federation(saved("gpt2, dropout"), name, {"base": base}) for _ in range(3))
    two_rounds(whole)
    stop_and_continue(first, resumed, tmp_path)
    assert_same(resumed, whole)
    assert resumed.ledger.to_dict() == whole.ledger.to_dict()


@EVERY
@pytest.mark.parametrize("base", BASES)
def test_frozen_weights_stay_where_they_are(name: str, base: str, saved) -> None:
    parties = federation(saved("gpt2"), name, {"base": base}, estimator={"candidates": 64})
    frozen = {
        key: (tensor, tensor.data_ptr(), tensor.clone())
        for key, tensor in parties.split.named_parameters()
        if not tensor.requires_grad
    }
    messages: list[Any] = []
    parties.listeners.append(
        lambda message, _: messages.append((type(message), list(getattr(message, "model", None) or ())))
    )
    two_rounds(parties)
    travelled = {key for kind, names in messages if issubclass(kind, ModelBroadcast | Reply) for key in names}
    assert all("lora_" in key for key in travelled)
    assert bool(travelled) == bool(parties.learner.model() or parties.fed_server.downlink_only)
    assert not parties.runtime.local.buffers()
    now = dict(parties.split.named_parameters())
    assert len(frozen) > 10
    for key, (tensor, address, before) in frozen.items():
        assert now[key] is tensor, key
        assert tensor.data_ptr() == address, key
        assert torch.equal(tensor, before), key
        assert tensor.grad is None, key
    server = parties.main_server.state()
    assert {key for key in server if key.startswith("module/") and "lora_" not in key} == set()
    trainable = [tensor for tensor in parties.split.server.parameters() if tensor.requires_grad]
    # A server that learns by zeroth order steps by plain SGD.
    moments = 2 if parties.algorithm.uploads != "never" and not parties.algorithm.clean_first else 0
    assert sum(tensor.numel() for key, tensor in server.items() if not key.endswith("/step")) == (1 + moments) * sum(
        tensor.numel() for tensor in trainable
    )
    saved_tensors = sum(tensor.numel() for tensor in parties.state()[0].values())
    assert saved_tensors < sum(before.numel() for _, _, before in frozen.values())


def batch_of(*positions: int) -> Batch:
    return fetch(examples(), np.array(positions), torch.device("cpu"))


def tensors_of(*positions: int) -> TensorBatch:
    batch = batch_of(*positions)
    return TensorBatch(batch.inputs, batch.labels)


def gradients(local: LocalNetwork, batch: TensorBatch, seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Smashed data, loss and gradients of a first-order client, a piece at a time."""
    with torch.enable_grad():
        smashed, loss = local.clean_pass(batch, seed, lambda piece: piece.backward())
    found = {name: tensor.grad for name, tensor in local.module.named_parameters() if tensor.grad is not None}
    return smashed, loss, found


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("silent", [False, True])
def test_micro_batches_are_the_batch(size: int, silent: bool, saved) -> None:
    """Each token has the same weight in any piece; a piece may contain no token that counts."""
    batch = tensors_of(0, 1, 2, 3, 4)
    counted = (batch.labels >= 0).sum(dim=1)
    assert len(set(counted.tolist())) > 2
    if silent:
        batch.labels[:2] = -100
    whole, pieces = (
        LocalNetwork(build(saved("gpt2")), token_cross_entropy, head="auxiliary", micro_batch=micro_batch)
        for micro_batch in (None, size)
    )
    with torch.no_grad():
        assert float(pieces.loss_pass(batch, 0)) == pytest.approx(float(whole.loss_pass(batch, 0)), rel=1e-6)
    found, expected = gradients(pieces, batch), gradients(whole, batch)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-6, atol=0.0)
    assert found[2].keys() == expected[2].keys() == {key for key, _ in whole.module.named_parameters() if "lora" in key}
    for key, gradient in expected[2].items():
        torch.testing.assert_close(found[2][key], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["heron", "heron, exact head", "heron, exact head and block", "cse_fsl", "ho_sfl", "hosl"]
)
def test_a_round_in_micro_batches_is_a_round(name: str, saved) -> None:
    sgd = {"optimizer": "sgd", "estimator": {"mu": 1e-2}, "server": {"optimizer": "sgd"}}
    whole, pieces = (federation(saved("gpt2"), name, **sgd | {"micro_batch": size}) for size in (0, 3))
    np.testing.assert_allclose(two_rounds(whole), two_rounds(pieces), rtol=1e-4)
    tensors, others = whole.state()[0], pieces.state()[0]
    for key, tensor in tensors.items():
        torch.testing.assert_close(others[key], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama", "qwen2, tied"])
@pytest.mark.parametrize("base", BASES)
def test_projected_gradients_are_directional_derivatives(name: str, base: str, saved) -> None:
    local = LocalNetwork(build(saved(name), base=base), token_cross_entropy, head="auxiliary")
    batch = tensors_of(0, 1, 2)
    expected = gradients(local, batch)[2]
    local.module.zero_grad(set_to_none=True)
    # Seeds along which no ReLU of OPT bends within the radius; the float32 weights that int8 stands for bend at 12.
    flat, seeds = FlatParameters(local.module), [11, 13, 14]
    assert flat.theta.dtype == torch.float32  # LoRA next to a base in any dtype
    assert torch.finfo(local.loss_pass(batch, 0).dtype).bits >= 32

    def found(scheme: str) -> Tensor:
        estimator = Estimator(3e-4, len(seeds), scheme=scheme)
        return estimator.projected_gradients(flat, lambda: local.loss_pass(batch, 0), seeds)

    exact = []
    for seed in seeds:
        flat.perturb_(seed, 1.0)
        direction = {
            key: tensor.detach() - flat.named_tensors()[key]
            for key, tensor in local.module.named_parameters()
            if tensor.requires_grad
        }
        flat.restore_()
        exact.append(sum((gradient * direction[key]).sum() for key, gradient in expected.items()))
    scale = max(1.0, float(torch.stack(exact).abs().max()))
    torch.testing.assert_close(found("jvp").float(), torch.stack(exact), rtol=1e-4, atol=1e-4 * scale)
    torch.testing.assert_close(found("central").float(), torch.stack(exact), rtol=1e-2, atol=1e-2 * scale)


def test_all_exact_is_cse_fsl_bit_for_bit(saved) -> None:
    exact, first_order = (federation(saved("gpt2, dropout"), name) for name in ("heron, all exact", "cse_fsl"))
    np.testing.assert_array_equal(two_rounds(exact), two_rounds(first_order))
    assert_same(exact, first_order)


@pytest.mark.parametrize("exact", [1, 2])
def test_above_the_boundary_gradients_are_exact(exact: int, saved) -> None:
    """One SGD step moves what is exact like cse_fsl's, and leaves what is below where it was, without probes."""
    moved: dict[str, dict[str, Tensor]] = {}
    sgd = Settings(client=Client(optimizer="sgd", learning_rate=1.0))
    for name, settings in (("heron", changed(sgd, exact=exact, estimator={"probes": 0})), ("cse_fsl", sgd)):
        split = build(saved("gpt2"), 2, 0 if exact == 2 else 1)
        runtime, learner = ALGORITHMS[name].torch_client(split, token_cross_entropy, settings)
        local = runtime.local
        before = {key: tensor.detach().clone() for key, tensor in local.module.named_parameters()}
        step = learner.step(batch_of(0, 1, 2, 3), StepKey(0, 0, 0, 0))
        next(step)
        finish(step)
        moved[name] = {key: tensor.detach() - before[key] for key, tensor in local.module.named_parameters()}
    below = ("client.block0", "client.block1") if exact == 1 else ("client.block0",)
    for key, expected in moved["cse_fsl"].items():
        if "lora_" not in key or key.startswith(below):
            assert not moved["heron"][key].any(), key
        else:
            assert expected.any(), key
            torch.testing.assert_close(moved["heron"][key], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["cse_fsl", "sflv2", "fedavg"])
@pytest.mark.parametrize("model", ["gpt2", "gpt2, dropout"])
@pytest.mark.parametrize("base", BASES)
def test_checkpointing_changes_no_bit(name: str, model: str, base: str, saved) -> None:
    plain, checkpointed = (
        federation(saved(model), name, {"cut": 2, "base": base}, checkpointing=checkpointing)
        for checkpointing in (False, True)
    )
    calls = [_count(parties.split.client[1]) for parties in (plain, checkpointed)]
    np.testing.assert_array_equal(two_rounds(plain), two_rounds(checkpointed))
    assert_same(checkpointed, plain)
    assert calls[1]() > calls[0](), "activations were computed again"


def _count(layer: nn.Module) -> Callable[[], int]:
    calls: list[None] = []
    layer.register_forward_pre_hook(lambda *_: calls.append(None))
    return lambda: len(calls)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("cut", range(1, NUM_BLOCKS))
def test_sflv2_with_one_client_trains_end_to_end(name: str, cut: int, saved) -> None:
    """The oracle: the uncut model, peft's LoRA, all scores at once, one optimiser."""
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import AutoModelForCausalLM

    steps, rate = 4, 0.05
    data = examples(6)
    parties = Federation(
        build(saved(name), cut),
        ALGORITHMS["sflv2"],
        data,
        [np.arange(6)],
        Settings(
            client=Client(batch_size=6, local_steps=steps // 2, optimizer="sgd", learning_rate=rate),
            server=Server("sgd", rate),
        ),
        token_cross_entropy,
    )

    def lora_of(part: nn.Module) -> list[Tensor]:
        return [parameter for parameter in part.parameters() if parameter.requires_grad]

    names = ["c_attn"] if name == "gpt2" else ["q_proj", "k_proj", "v_proj", "o_proj"]
    settings = LoraConfig(r=RANK, lora_alpha=16, target_modules=names, fan_in_fan_out=name == "gpt2")
    oracle = AutoModelForCausalLM.from_pretrained(saved(name), dtype=torch.float32).requires_grad_(False)
    inject_adapter_in_model(settings, oracle)
    initial = [*lora_of(parties.split.client), *lora_of(parties.split.server)]
    trained = lora_of(oracle)
    for parameter, start in zip(trained, initial, strict=True):
        parameter.data.copy_(start.data)
    optimizer, losses = torch.optim.SGD(trained, lr=rate), []
    inputs, labels = data.batch(np.arange(6))
    lengths = torch.from_numpy(data.lengths)
    mask = (torch.arange(inputs.shape[1]) < lengths[:, None]).long()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(oracle(input_ids=inputs, attention_mask=mask).logits.flatten(0, 1), labels.flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    first, second = parties.run_round().server_loss, parties.run_round().server_loss
    assert [first, second] == pytest.approx([np.mean(losses[:2]), np.mean(losses[2:])], rel=1e-6)
    assert losses[-1] < losses[0] - 1e-3
    parties.load_global_model()
    for found, expected in zip(initial, trained, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


def test_smashed_data_and_its_gradient_are_hidden_states(saved) -> None:
    parties = federation(saved("gpt2"), "sflv2")
    seen: list[tuple[type, tuple[int, ...], torch.dtype]] = []

    def listen(message: object, _: str) -> None:
        tensor = getattr(message, "smashed", getattr(message, "gradient", None))
        if tensor is not None:
            seen.append((type(message), tuple(tensor.shape), tensor.dtype))

    parties.listeners.append(listen)
    parties.run_round()
    assert {kind for kind, _, _ in seen} == {SmashedData, CutGradient}
    assert all(shape[2] == WIDTH and dtype == torch.float32 for _, shape, dtype in seen)
    assert len({shape[1] for _, shape, _ in seen}) > 1, "padded to the longest of the batch, not of the data"


PIECES = {"micro_batch": 2, "checkpointing": True}


@pytest.mark.parametrize(
    ("model", "name", "changes"),
    [
        *[("gpt2", name, {}) for name in ("heron", "heron, exact head", "heron, exact head and block", "sflv2")],
        ("gpt2", "cse_fsl", {}),
        ("opt, dropout", "heron", {}),
        ("llama", "cse_fsl", PIECES),
        ("llama", "heron, exact head and block", PIECES),
    ],
)
@pytest.mark.parametrize("base", BASES)
def test_a_planned_step_costs_what_a_real_one_does(model: str, name: str, changes: dict, base: str, saved) -> None:
    algorithm, client_changes = ROWS[name]
    settings = changed(Settings(), batch_size=BATCH, **client_changes, **changes)
    source, shape = saved(model), ExampleShape((9,), (9,), "int64")

    def make() -> SplitModel:
        return causal_lm(
            source, num_client_blocks=2, num_auxiliary_blocks=1, adaptation=Adaptation(base=base), random_weights=True
        )

    planned = plan_step(make, ALGORITHMS[algorithm], settings, shape, token_cross_entropy)
    measured = profile_step(make(), ALGORITHMS[algorithm], settings, shape, token_cross_entropy, repeats=1).to_dict()
    del measured["seconds_per_step"]
    assert planned == StepCost(**measured)
    assert sum(planned.memory_breakdown_bytes.values()) == planned.peak_memory_bytes > 0


def test_labels_that_count_are_those_of_continuations() -> None:
    """The share of a piece is by these: prompts and padding are in no mean."""
    batch = batch_of(*range(5))
    assert 0 < int(num_counted(batch.labels)) < batch.labels.numel()


TIED_APART = ("heron, exact head", "heron, exact head and block", "fsl_sage")


# The embedding, which is a layer group where it trains, would need a head of its own (tests/lm/test_local_heads.py).
@pytest.mark.parametrize("name", [name for name in ROWS if name not in (*TIED_APART, "local")])
def test_all_weights_may_train_and_tied_ones_stay_one(name: str, saved) -> None:
    reference, wire = (federation(saved("gpt2"), name, {"lora_rank": 0}, wire=wire) for wire in (False, True))
    np.testing.assert_array_equal(two_rounds(reference), two_rounds(wire))
    assert_same(wire, reference)
    split = reference.load_global_model()
    assert split.client.embedding.tokens.weight is split.auxiliary.unembedding.weight
    assert split.client.embedding.tokens.weight is not split.server.unembedding.weight
    model = reference.fed_server.model
    for key, tensor in reference.runtime.local.module.named_parameters():
        if key in model:
            assert torch.equal(tensor, model[key]), key


@pytest.mark.parametrize(
    ("name", "changes"), [*((name, {}) for name in TIED_APART), ("heron", {"server": {"refresh_auxiliary": True}})]
)
def test_a_tied_weight_cannot_be_trained_in_two_ways(name: str, changes: dict, saved) -> None:
    with pytest.raises(HeronError, match=r"found '.*tokens\.weight' and '.*weight' to be one tensor") as caught:
        federation(saved("gpt2"), name, {"lora_rank": 0}, **changes)
    assert "\n" not in str(caught.value)
    federation(saved("gpt2, untied"), name, {"lora_rank": 0}, **changes).run_round()
    federation(saved("gpt2"), name, **changes).run_round()


@pytest.mark.parametrize("name", ["fsl_sage", "heron"])
@pytest.mark.parametrize(("model", "base"), [("gpt2", "bfloat16"), ("llama", "float32"), ("llama", "int8")])
def test_the_server_fits_the_auxiliary_network(name: str, model: str, base: str, saved) -> None:
    """Through attention, whose fused form has no second derivative, and through the scores in chunks."""
    parties = federation(saved(model), name, {"base": base}, server={"refresh_auxiliary": name == "heron"})
    held = parties.fed_server.downlink_only or parties.fed_server.model
    aligned: list[dict[str, Tensor]] = []
    replace = parties.fed_server.replace

    def watch(tensors: dict[str, Tensor]) -> None:
        aligned.append({key: parties.fed_server.global_model()[key].clone() for key in tensors})
        aligned.append(tensors)
        replace(tensors)

    parties.fed_server.replace = watch
    parties.run_round()
    before, after = aligned
    assert before.keys() == after.keys() == {key for key in held if key.startswith("auxiliary.")}
    assert all("lora_" in key and not torch.equal(before[key], after[key]) for key in before)


OPTIONS: list[dict[str, Any]] = [{}, {"base": "bfloat16"}, {"base": "int8"}, {"lora_rank": 0}]


@pytest.mark.parametrize("name", ["heron", "sflv2"])
@pytest.mark.parametrize("options", OPTIONS, ids=["lora", "bfloat16", "int8", "all"])
def test_what_was_trained_is_one_model_again(name: str, options: dict[str, Any], saved) -> None:
    parties = federation(saved("gpt2"), name, options)
    two_rounds(parties)
    split = parties.load_global_model().eval()
    ids = batch_of(0, 1, 2).inputs
    with torch.no_grad():
        expected = split(ids).scores()
        found = whole_model(split)(ids).logits
        again = split(ids).scores()
        start = build(saved("gpt2"), **options).eval()(ids).scores()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(again, expected), "the parts are left as they are"
    assert not torch.allclose(start, expected, atol=1e-3)
