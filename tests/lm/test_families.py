"""Cut language models compute what `transformers` does; what is shared, what trains, how it is stored."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from heron.client.torch_runtime.network import LocalNetwork, TensorBatch
from heron.errors import HeronError
from heron.lm import Adaptation, causal_lm, load_tokenizer
from heron.lm.families import FAMILIES
from heron.lm.widening import store_wide_
from heron.split import SplitModel, check_disjoint, check_trainable, is_stochastic, token_cross_entropy
from tests.lm.models import MODELS, NUM_BLOCKS, NUM_POSITIONS, NUM_TOKENS, TIED, save, uncut

EVERY = pytest.mark.parametrize("name", list(MODELS))
BASES = ["float32", "bfloat16", "int8"]
CUTS = [(cut, blocks) for cut in range(1, NUM_BLOCKS) for blocks in range(NUM_BLOCKS - cut + 1)]
LENGTHS = (7, 1, 4)


def tokens(length: int = max(LENGTHS)) -> Tensor:
    return torch.randint(0, NUM_TOKENS, (len(LENGTHS), length), generator=torch.Generator().manual_seed(3))


def cut_model(source: str, cut: int = 1, blocks: int = 1, *, random_weights: bool = False, **options) -> SplitModel:
    return causal_lm(
        source,
        num_client_blocks=cut,
        num_auxiliary_blocks=blocks,
        adaptation=Adaptation(**options),
        random_weights=random_weights,
    )


@torch.no_grad()
def scores(split: SplitModel, ids: Tensor) -> Tensor:
    return split.eval()(ids).scores()


def randomise_lora_(split: nn.Module) -> None:
    """Products of LoRA start at zero, where a wrong one would not show."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in split.named_parameters():
        if "lora_" in name:
            parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def test_every_family_is_tried() -> None:
    assert {family for family, _ in MODELS.values()} == set(FAMILIES)


@EVERY
@pytest.mark.parametrize("lora_rank", [0, 2])
def test_scores_are_those_of_the_uncut_model(name: str, lora_rank: int, saved) -> None:
    """Under an attention mask, without one here: padding on the right reaches no token."""
    ids, places = tokens(), torch.arange(max(LENGTHS))
    real = places < torch.tensor(LENGTHS)[:, None]
    with torch.no_grad():
        expected = uncut(name)(ids, attention_mask=real.long()).logits
    for cut in range(1, NUM_BLOCKS):
        found = scores(cut_model(saved(name), cut, lora_rank=lora_rank), ids)
        assert found.shape == expected.shape
        torch.testing.assert_close(found[real], expected[real], atol=2e-6, rtol=2e-6)
        assert found.std() > 0.1, "scores that say something"


@EVERY
@pytest.mark.parametrize(("cut", "blocks"), CUTS)
def test_the_auxiliary_network_is_the_servers_first_blocks_and_its_head(
    name: str, cut: int, blocks: int, saved
) -> None:
    split = cut_model(saved(name), cut, blocks).eval()
    assert list(dict(split.client.named_children())) == ["embedding", *(f"block{index}" for index in range(cut))]
    names = [f"block{index}" for index in range(cut, NUM_BLOCKS)]
    assert list(dict(split.server.named_children())) == [*names, "norm", "unembedding"]
    assert list(dict(split.auxiliary.named_children())) == [*names[:blocks], "norm", "unembedding"]
    server = dict(split.server.named_children())
    with torch.no_grad():
        smashed = split.client(tokens())
        expected = smashed
        for layer in [*names[:blocks], "norm", "unembedding"]:
            expected = server[layer](expected)
        found = split.auxiliary(smashed)
    assert torch.equal(found.scores(), expected.scores())
    own, others = dict(split.auxiliary.named_parameters()), dict(split.server.named_parameters())
    assert {name for name, tensor in own.items() if tensor.requires_grad} == {name for name in own if "lora_" in name}
    assert all((own[name] is others[name]) == (not own[name].requires_grad) for name in own)


@EVERY
@pytest.mark.parametrize("base", BASES)
def test_frozen_weights_are_held_once(name: str, base: str, saved) -> None:
    """The whole network, its auxiliary network included, takes the room of one model and the products' own."""
    split = cut_model(saved(name), 1, 1, base=base)
    named = dict(split.named_parameters())  # each tensor once
    kept = named.values()
    frozen = [tensor for key, tensor in named.items() if not tensor.requires_grad and not key.endswith(".scale")]
    assert sum(tensor.numel() for tensor in frozen) == sum(tensor.numel() for tensor in uncut(name).parameters())
    codes = [tensor for tensor in kept if tensor.dtype == torch.int8]
    assert len(codes) == sum(key.endswith(".scale") for key in named)
    assert bool(codes) == (base == "int8")
    assert len({tensor.untyped_storage().data_ptr() for tensor in kept}) == len(kept)
    tied = split.client.embedding.tokens.weight is split.auxiliary.unembedding.weight
    assert split.server.unembedding.weight is split.auxiliary.unembedding.weight
    assert tied == (name.removesuffix(", dropout").removesuffix(", norm after") in TIED)


@EVERY
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_without_lora_both_sides_of_the_cut_train_their_own(name: str, blocks: int, saved) -> None:
    split = cut_model(saved(name), 1, blocks, lora_rank=0)
    assert all(parameter.requires_grad for parameter in split.parameters())
    held = nn.ModuleDict({"client": split.client, "auxiliary": split.auxiliary})
    check_disjoint("client", held, "server", split.server)
    assert {id(tensor) for tensor in held.parameters()}.isdisjoint(map(id, split.server.parameters()))
    is_tied = split.client.embedding.tokens.weight is split.auxiliary.unembedding.weight
    assert is_tied == (name.removesuffix(", dropout").removesuffix(", norm after") in TIED)
    assert torch.equal(split.server.unembedding.weight, split.auxiliary.unembedding.weight)
    check_trainable(split, tokens())


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama", "qwen2"])
@pytest.mark.parametrize("layers", ["attention", "all"])
def test_lora_alone_trains(name: str, layers: str, saved) -> None:
    split = cut_model(saved(name), 2, 1, lora_layers=layers, lora_rank=3)
    trainable = [key for key, parameter in split.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all("lora_A" in key or "lora_B" in key for key in trainable)
    attention, everything = {"gpt2": (1, 4), "opt": (4, 6), "llama": (4, 7), "qwen2": (4, 7)}[name]
    # Two blocks of the client, one of the auxiliary network, one of the server.
    assert len(trainable) == 4 * 2 * (attention if layers == "attention" else everything)
    for part in ("client", "auxiliary", "server"):
        assert any(key.startswith(part) for key in trainable)
    assert all(3 in parameter.shape for parameter in split.parameters() if parameter.requires_grad)
    check_trainable(split, tokens())


def test_lora_has_its_scale(saved) -> None:
    outputs = []
    for alpha in (4, 8):
        split = cut_model(saved("gpt2"), lora_alpha=alpha, lora_rank=2)
        randomise_lora_(split)
        if alpha == 4:
            for name, parameter in split.named_parameters():
                if "lora_B" in name:
                    parameter.data.mul_(2.0)
        outputs.append(scores(split, tokens()))
    torch.testing.assert_close(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], scores(cut_model(saved("gpt2"), lora_rank=2), tokens()), atol=1e-3)


def loss_and_gradients(split: SplitModel) -> tuple[Tensor, dict[str, Tensor]]:
    ids = tokens()
    smashed = split.client(ids)
    loss = token_cross_entropy(split.auxiliary(smashed), ids.roll(-1, 1)) + token_cross_entropy(
        split.server(smashed), ids.roll(-1, 1)
    )
    loss.backward()
    return loss.detach(), {
        name: parameter.grad for name, parameter in split.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama", "qwen2, tied", "gpt2, untied"])
def test_a_narrow_base_computes_in_float32_with_rounded_weights(name: str, saved) -> None:
    narrow, wide = (cut_model(saved(name), lora_layers="all", base=base).eval() for base in ("bfloat16", "float32"))
    for parameter, other in zip(narrow.parameters(), wide.parameters(), strict=True):
        is_matrix = parameter.dim() == 2
        assert parameter.dtype == (torch.bfloat16 if is_matrix and not parameter.requires_grad else torch.float32)
        other.data.copy_(parameter.data)  # rounded
    randomise_lora_(narrow)
    randomise_lora_(wide)
    assert_same_loss_and_gradients(narrow, wide)


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama", "qwen2, tied", "gpt2, untied"])
def test_an_int8_base_computes_in_float32_with_what_its_codes_stand_for(name: str, saved) -> None:
    narrow, wide = (cut_model(saved(name), lora_layers="all", base="int8").eval() for _ in range(2))
    linear = [module for module in narrow.modules() if hasattr(module, "scale")]
    assert len({id(layer.weight) for layer in linear}) == NUM_BLOCKS * len(linear_layers(name))
    rounded = {id(layer.weight) for layer in linear}
    for parameter in narrow.parameters():
        if not parameter.requires_grad and parameter.dim() == 2:
            assert parameter.dtype == (torch.int8 if id(parameter) in rounded else torch.bfloat16)
        else:
            assert parameter.dtype == torch.float32
    randomise_lora_(narrow)
    randomise_lora_(wide)
    store_wide_(wide)
    assert {parameter.dtype for parameter in wide.parameters()} == {torch.float32}
    assert_same_loss_and_gradients(narrow, wide)


def assert_same_loss_and_gradients(narrow, wide) -> None:
    (loss, gradients), (expected_loss, expected) = loss_and_gradients(narrow), loss_and_gradients(wide)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=0.0)
    assert gradients.keys() == expected.keys() == {key for key, _ in narrow.named_parameters() if "lora_" in key}
    for key, gradient in expected.items():
        assert gradients[key].dtype == torch.float32
        torch.testing.assert_close(gradients[key], gradient, rtol=1e-5, atol=1e-6)
        assert gradient.any(), key


def linear_layers(name: str) -> list[str]:
    """Names of the linear layers of a block."""
    blocks = FAMILIES[MODELS[name][0]].blocks(uncut(name))
    return [key for key, layer in blocks[0].named_modules() if type(layer).__name__ in ("Linear", "Conv1D")]


def test_narrow_bases_are_near_and_take_less_room(saved) -> None:
    splits = {base: cut_model(saved("llama"), base=base) for base in BASES}
    expected = scores(splits["float32"], tokens())
    for base in ("bfloat16", "int8"):
        found = scores(splits[base], tokens())
        assert found.dtype == torch.float32
        assert 0 < (found - expected).abs().max() < 0.05 * expected.abs().max()
    wide_bytes, half_bytes, int8_bytes = (
        sum({id(tensor): tensor.nbytes for tensor in split.parameters() if not tensor.requires_grad}.values())
        for split in splits.values()
    )
    assert 0.5 <= half_bytes / wide_bytes < 0.55
    assert 0.25 < int8_bytes / wide_bytes < half_bytes / wide_bytes


@pytest.mark.parametrize("name", ["gpt2, dropout", "opt, dropout"])
@pytest.mark.parametrize("base", BASES)
def test_dropout_is_a_function_of_the_seed(name: str, base: str, saved) -> None:
    split = cut_model(saved(name), base=base).train()
    assert all(is_stochastic(part) for part in (split.client, split.auxiliary, split.server))
    check_trainable(split, tokens())
    local = LocalNetwork(split, token_cross_entropy, head="auxiliary")
    batch = TensorBatch(tokens(), tokens().roll(-1, 1))
    with torch.no_grad():
        first, again, other = (local.clean_pass(batch, seed) for seed in (1, 1, 2))
        assert local.loss_pass(batch, 1) == first[1]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert not is_stochastic(cut_model(saved(name.removesuffix(", dropout"))))


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama"])
def test_merged_lora_computes_the_same(name: str, saved) -> None:
    from heron.lm.adaptation import merge_lora_

    model = uncut(name)
    names = [key for key, _ in model.named_parameters()]
    Adaptation(lora_rank=2, lora_alpha=4, lora_layers="all").apply_(model, model.config)
    randomise_lora_(model)
    with torch.no_grad():
        expected = model(tokens()).logits
        merge_lora_(model)
        found = model(tokens()).logits
        plain = uncut(name)(tokens()).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-2)
    assert [key for key, _ in model.named_parameters()] == names


def test_weights_may_be_random_and_then_depend_on_the_generator(tmp_path) -> None:
    source = str(tmp_path / "configuration")
    uncut("gpt2").config.save_pretrained(source)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(scores(cut_model(source, random_weights=True), tokens()))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def refuse(text: str, source: str, **options) -> None:
    with pytest.raises(HeronError, match=text) as caught:
        cut_model(source, **options)
    assert "\n" not in str(caught.value)


def test_a_model_without_an_adapter_is_refused(tmp_path) -> None:
    from transformers import BertConfig

    BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    refuse("of gpt2, opt, llama, qwen2, found 'bert'", str(tmp_path))


@pytest.mark.parametrize("cut", [-1, 0, NUM_BLOCKS, 99])
def test_a_cut_outside_the_model_is_refused(cut: int, saved) -> None:
    refuse(rf"split\.cut from 1 to {NUM_BLOCKS - 1}, .* found {cut}$", saved("gpt2"), cut=cut)


@pytest.mark.parametrize("blocks", [-1, NUM_BLOCKS - 1, 99])
def test_auxiliary_blocks_that_the_server_lacks_are_refused(blocks: int, saved) -> None:
    refuse(rf"auxiliary_blocks from 0 to 1, .* found {blocks}$", saved("gpt2"), cut=NUM_BLOCKS - 1, blocks=blocks)


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama", "qwen2"])
def test_a_sequence_longer_than_the_positions_is_refused(name: str, saved) -> None:
    split = cut_model(saved(name))
    assert torch.isfinite(scores(split, tokens(NUM_POSITIONS))).all()
    with pytest.raises(HeronError, match=rf"at most {NUM_POSITIONS} tokens, found {NUM_POSITIONS + 1}") as caught:
        split(tokens(NUM_POSITIONS + 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("gpt2", {"add_cross_attention": True}),
        ("opt", {"layerdrop": 0.1}),
        ("qwen2", {"use_sliding_window": True}),
    ],
)
def test_a_setting_that_changes_the_computation_is_refused(name: str, changes: dict, tmp_path) -> None:
    (setting,) = changes
    refuse(f"with {setting} = ", save(name, tmp_path, **changes))


def test_embeddings_of_another_width_are_refused(tmp_path) -> None:
    """Projected embeddings, as in OPT-350m, are refused."""
    refuse("word_embed_proj_dim", save("opt", tmp_path, word_embed_proj_dim=8, do_layer_norm_before=False))


@pytest.mark.parametrize(("rank", "alpha"), [(2, 0), (-1, 2), (2, -3)])
def test_lora_out_of_range_is_refused(rank: int, alpha: int, saved) -> None:
    refuse(f"at least 1, found {rank} and {alpha}$", saved("gpt2"), lora_rank=rank, lora_alpha=alpha)


@pytest.mark.parametrize("base", ["bfloat16", "int8"])
def test_a_narrow_base_that_would_have_to_train_is_refused(base: str, saved) -> None:
    refuse(rf"split\.base=float32 if all weights train, found {base}", saved("gpt2"), lora_rank=0, base=base)


@pytest.mark.parametrize("random_weights", [False, True])
@pytest.mark.parametrize("where", ["absent", "empty", "hub"])
def test_a_model_that_is_not_there_is_refused(where: str, random_weights: bool, tmp_path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    source = "heron-tests/no-such-model" if where == "hub" else str(tmp_path / where)
    refuse("found none that loads", source, random_weights=random_weights)


def _truncate(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [_truncate, lambda shard: shard.write_bytes(b""), lambda shard: shard.unlink()],
    ids=["half", "empty", "gone"],
)
def test_damaged_weights_are_refused(damage, tmp_path) -> None:
    source = save("gpt2", tmp_path)
    damage(tmp_path / "model.safetensors")
    refuse("found none that loads", source)


def test_weights_that_are_not_all_there_are_refused(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    source, shard = save("gpt2", tmp_path), tmp_path / "model.safetensors"
    weights = load_file(shard)
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, shard, metadata={"format": "pt"})
    refuse("found none of transformer.h.1.mlp.c_fc.weight", source)


def test_weights_of_another_shape_are_refused(tmp_path) -> None:
    source = save("gpt2", tmp_path)
    uncut("gpt2", n_embd=32).config.save_pretrained(tmp_path)
    refuse("found none that loads", source)


def tokenizer(directory: Path, size: int, **special: str) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {f"w{index}": index for index in range(size - 1)} | {"<end>": size - 1}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")), **special).save_pretrained(
        directory
    )


def test_a_tokenizer_has_to_fit_the_vocabulary_and_to_end(tmp_path) -> None:
    for name, size, special in (
        ("fits", 61, {"eos_token": "<end>"}),
        ("large", 62, {"eos_token": "<end>"}),
        ("endless", 61, {}),
    ):
        tokenizer(tmp_path / name, size, **special)
    assert len(load_tokenizer(str(tmp_path / "fits"), NUM_TOKENS)) == NUM_TOKENS
    for name, text in (("large", "at most 61 tokens.* found 62"), ("endless", "an end token")):
        with pytest.raises(HeronError, match=text) as caught:
            load_tokenizer(str(tmp_path / name), NUM_TOKENS)
        assert "\n" not in str(caught.value)
    with pytest.raises(HeronError, match="found none that loads") as caught:
        load_tokenizer(str(tmp_path), NUM_TOKENS)
    assert "\n" not in str(caught.value)
