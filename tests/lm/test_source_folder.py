"""Files in a source model's folder that must not change results silently."""

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

import heron.lm
from heron.errors import SplitError
from heron.lm import Adaptation, causal_lm, causal_lm_config, continuations, load_tokenizer, whole_model
from heron.lm.pretrained import load_causal_lm
from tests.lm.models import NUM_TOKENS, save

PROMPTS = ["w1 w2 w3", "w7", "w9 w9 w9 w9 w20"]
_DEFAULTS = {
    "sampling": {"do_sample": True, "temperature": 5.0, "top_k": 3},
    "beams": {"num_beams": 3, "num_return_sequences": 2, "length_penalty": -5.0},
    "penalties": {"repetition_penalty": 50.0, "no_repeat_ngram_size": 1, "encoder_repetition_penalty": 3.0},
    "lengths": {"max_length": 3, "min_length": 20, "min_new_tokens": 10, "max_time": 0.0},
    "tokens": {
        "forced_bos_token_id": 5,
        "forced_eos_token_id": 6,
        "suppress_tokens": list(range(1, 40)),
        "eos_token_id": list(range(60)),
        "sequence_bias": [[[7], 100.0]],
    },
    "outputs": {"return_dict_in_generate": True, "output_scores": True, "output_logits": True},
    "cache": {"use_cache": False, "cache_implementation": "static"},
    "speculation": {"prompt_lookup_num_tokens": 3, "guidance_scale": 4.0},
}


@pytest.fixture
def folder(tmp_path):
    """A model and its tokenizer of one word per token, ended by the token 0."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    save("gpt2", tmp_path)
    words = {word: index for index, word in enumerate(["<end>", *(f"w{number}" for number in range(1, NUM_TOKENS))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<end>")
    made.save_pretrained(tmp_path)
    return tmp_path


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))


def texts(folder: Path) -> list[str]:
    split = causal_lm(str(folder), num_client_blocks=1, num_auxiliary_blocks=1)
    return continuations(whole_model(split), load_tokenizer(str(folder), NUM_TOKENS), PROMPTS, max_new_tokens=8)


@pytest.mark.parametrize("kind", _DEFAULTS)
def test_defaults_for_generating_change_nothing(folder, kind):
    expected = texts(folder)
    assert all(expected)
    edit(folder / "generation_config.json", **_DEFAULTS[kind])
    assert texts(folder) == expected


@pytest.mark.parametrize("kind", sorted(_DEFAULTS.keys() - {"tokens"}))
def test_defaults_of_a_model_change_nothing_and_are_its_own_afterwards(folder, kind):
    from transformers import GenerationConfig

    model = whole_model(causal_lm(str(folder), num_client_blocks=1, num_auxiliary_blocks=1))
    tokenizer = load_tokenizer(str(folder), NUM_TOKENS)
    expected = continuations(model, tokenizer, PROMPTS, max_new_tokens=8)
    own = model.generation_config = GenerationConfig(**_DEFAULTS[kind])
    assert continuations(model, tokenizer, PROMPTS, max_new_tokens=8) == expected
    assert model.generation_config is own


@pytest.mark.parametrize(
    "changes",
    [
        {"padding_side": "left", "truncation_side": "left", "model_max_length": 2},
        {"add_bos_token": True, "add_eos_token": True, "bos_token": "w5"},
        {"chat_template": "{{ 1 / 0 }}"},
        {"clean_up_tokenization_spaces": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_habits_of_the_tokenizer_change_nothing(folder, changes):
    expected = texts(folder)
    edit(folder / "tokenizer_config.json", **changes)
    assert texts(folder) == expected


def test_truncation_and_padding_that_a_tokenizer_was_saved_with_change_nothing(folder):
    expected = texts(folder)
    cut = {"direction": "Left", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    fill = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_id": 3, "pad_type_id": 0, "pad_token": "w3"}
    edit(folder / "tokenizer.json", truncation=cut, padding=fill | {"pad_to_multiple_of": None})
    assert texts(folder) == expected


def test_the_dtype_and_attention_of_a_configuration_change_nothing(folder):
    expected = texts(folder)
    edit(folder / "config.json", dtype="float16", torch_dtype="float16", attn_implementation="eager", use_cache=False)
    model = load_causal_lm(str(folder))
    assert str(next(model.parameters()).dtype) == "torch.float32"
    assert model.config._attn_implementation == "sdpa"
    assert texts(folder) == expected


def test_an_adapter_is_refused(folder):
    (folder / "adapter_config.json").write_text("{}")
    for adaptation in (None, Adaptation(lora_rank=0)):
        with pytest.raises(SplitError, match=r"found an adapter_config.json in it.*merge_and_unload"):
            causal_lm(str(folder), num_client_blocks=1, num_auxiliary_blocks=1, adaptation=adaptation)


def test_quantised_weights_are_refused(folder):
    edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(SplitError, match=r"found quantised ones.*split.base=int8"):
        causal_lm_config(str(folder))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "rope_type dynamic"),
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "sliding_attention"),
    ],
)
def test_blocks_that_depend_on_the_length_are_refused(tmp_path, changes, found):
    save("qwen2", tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(SplitError, match=f"found {found}"):
        causal_lm_config(str(tmp_path))


def test_code_in_the_folder_never_runs(folder, tmp_path_factory):
    trace = tmp_path_factory.mktemp("trace") / "ran"
    code = f"open({str(trace)!r}, 'w').close()\n"
    (folder / "custom_generate").mkdir()
    for name in ("configuration_own.py", "modeling_own.py", "tokenization_own.py", "custom_generate/generate.py"):
        (folder / name).write_text(code)
    edit(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_own.Own", None]})
    assert texts(folder)
    assert not trace.exists()
    edit(folder / "config.json", auto_map={"AutoConfig": "configuration_own.Own"}, model_type="own")
    with pytest.raises(SplitError):
        heron.lm.causal_lm(str(folder), num_client_blocks=1, num_auxiliary_blocks=1)
    assert not trace.exists()
