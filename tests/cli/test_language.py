"""Parts, a run, its perplexity and an exported model, made from a pre-trained directory: a small model, small data."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from heron.cli.main import main
from heron.config import fingerprint, load_splits, plan_cost, recipe_config
from heron.config.run_files import read_config
from heron.data import IGNORED
from heron.lm import Adaptation, causal_lm, load_client_parts

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from tests.lm.models import WIDTH

WORDS = (
    "<end>",
    "||",
    *(f"name[{name}]" for name in "ABCDEF"),
    "a",
    "place",
    "by",
    "the",
    "river",
    "is",
    "nice",
    "eat",
)
TRAIN = [(f"name[{name}]", f"a nice place by the {word}") for name in "ABCDEF" for word in ("river", "place")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder `data` with E2E files and `models/tiny` next to it, with a tokenizer of one word per token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from tests.lm.models import save

    root = tmp_path_factory.mktemp("world")
    save("gpt2", root / "models" / "tiny")
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<end>").save_pretrained(
        root / "models" / "tiny"
    )
    folder = root / "data" / "e2e"
    folder.mkdir(parents=True)
    for name, rows in (("train", TRAIN), ("dev", TRAIN[:4]), ("test", TRAIN[3:8])):
        (folder / f"{name}.csv").write_text("mr,ref\n" + "".join(f"{mr},{ref}\n" for mr, ref in rows))
    return root


@pytest.fixture(autouse=True)
def data_here(world, monkeypatch):
    monkeypatch.setenv("HERON_DATA", str(world / "data"))


BASES = ("float32", "bfloat16", "int8")
SETTINGS = (
    "split.pretrained=tiny",
    "split.cut=1",
    "data.max_length=20",
    "threads=1",
    "rounds=2",
    "client.batch_size=4",
)


def train(out: Path, *settings: str, algorithm: str = "heron", save_model: bool = False) -> int:
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    extra = ["--save-model"] if save_model else []
    return main(["train", "e2e-gpt2-mini", "--algorithm", algorithm, *words, "--out", str(out), *extra])


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERON_DATA", str(world / "data"))
        out = tmp_path_factory.mktemp("runs") / "run"
        assert train(out, algorithm="splitlora") == 0
    return out


def test_a_run_reports_perplexity_and_resumes(run, capsys):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {row["algorithm"] for row in rows} == {"sflv2"}
    assert all(math.isfinite(row[f"{split}_perplexity"]) for row in rows for split in ("validation", "test"))
    assert main(["train", "--resume", str(run)]) == 0
    assert "perplexity" in capsys.readouterr().out


def perplexity(model, run: Path) -> float:
    """Perplexity by transformers alone, on the run's test examples one by one."""
    total, count = 0.0, 0
    for inputs, labels in load_splits(read_config(run)).test:
        with torch.no_grad():
            scores = model(inputs[None]).logits[0]
        total += float(cross_entropy(scores, labels, ignore_index=IGNORED, reduction="sum"))
        count += int((labels != IGNORED).sum())
    return math.exp(total / count)


def test_the_exported_model_is_the_runs_by_transformers_alone(run, tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "exported"
    assert main(["export", str(run), "--out", str(out)]) == 0
    model = AutoModelForCausalLM.from_pretrained(out)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert perplexity(model, run) == pytest.approx(last["test_perplexity"], rel=1e-5)
    ids = AutoTokenizer.from_pretrained(out)("name[A] ||", return_tensors="pt").input_ids
    assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] > ids.shape[1]
    card = (out / "README.md").read_text()
    assert 'library_name: "transformers"' in card
    assert "`tiny`, a local folder" in card
    assert str(out.parent) not in card + (out / "config.toml").read_text()
    assert main(["export", str(run), "--out", str(out)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_generate_scores_distinct_prompts(run, tmp_path, capsys):
    path = tmp_path / "texts.json"
    assert main(["generate", str(run), "--prompts", "2", "--json", str(path)]) == 0
    saved = json.loads(path.read_text())
    assert saved["prompts"] == len(saved["texts"]) == 2
    assert len({row["prompt"] for row in saved["texts"]}) == 2
    assert 0 <= saved["bleu"] <= 100
    assert 0 <= saved["rouge_l"] <= 1
    assert "BLEU" in capsys.readouterr().out


def test_a_client_starts_from_its_part_alone(world, tmp_path, capsys):
    out = tmp_path / "parts"
    assert main(["split-model", str(world / "models" / "tiny"), "--cut", "2", "--out", str(out)]) == 0
    assert "client" in capsys.readouterr().out
    (out / "server.safetensors").unlink()
    parts = load_client_parts(out, Adaptation(lora_rank=0))
    split = causal_lm("tiny", num_client_blocks=2, num_auxiliary_blocks=1, adaptation=Adaptation(lora_rank=0)).eval()
    ids = torch.randint(0, len(WORDS), (2, 7))
    with torch.no_grad():
        smashed = parts.eval().client(ids)
        assert torch.equal(smashed, split.client(ids))
        assert torch.equal(parts.auxiliary(smashed).hidden_BTD, split.auxiliary(smashed).hidden_BTD)
    assert parts.auxiliary.unembedding.weight is parts.client.embedding.tokens.weight
    adapted = load_client_parts(out, Adaptation(lora_rank=2, base="bfloat16"))
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    embedding = adapted.client.embedding.tokens.weight
    assert embedding.dtype == torch.bfloat16
    assert adapted.auxiliary.unembedding.weight is embedding


def test_a_client_starts_from_its_part_in_int8(world, tmp_path):
    """The same codes and scales, and so the same bits, as in the whole model."""
    out = tmp_path / "parts"
    assert main(["split-model", str(world / "models" / "tiny"), "--cut", "1", "--out", str(out)]) == 0
    adaptation = Adaptation(lora_rank=2, base="int8")
    parts = load_client_parts(out, adaptation).eval()
    split = causal_lm("tiny", num_client_blocks=1, num_auxiliary_blocks=1, adaptation=adaptation).eval()
    assert {tensor.dtype for tensor in parts.parameters()} == {torch.int8, torch.bfloat16, torch.float32}
    own, others = parts.client.state_dict(), split.client.state_dict()
    assert own.keys() == others.keys()
    for name, tensor in others.items():
        if "lora_" not in name:  # drawn again
            assert torch.equal(own[name], tensor), name
    ids = torch.randint(0, len(WORDS), (2, 7))
    with torch.no_grad():
        smashed = parts.client(ids)
        assert torch.equal(smashed, split.client(ids))
        assert torch.equal(parts.auxiliary(smashed).hidden_BTD, split.auxiliary(smashed).hidden_BTD)
    assert parts.auxiliary.unembedding.weight is parts.client.embedding.tokens.weight


@pytest.mark.slow
def test_an_int8_run_repeats_and_is_exported(world, tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    runs = [tmp_path / name for name in ("first", "second")]
    for run in runs:
        assert train(run, "split.base=int8", save_model=True) == 0
    configs = [recipe_config("e2e-gpt2-mini", "heron", [*SETTINGS, f"split.base={base}"]) for base in BASES]
    assert len({fingerprint(config) for config in configs}) == len(BASES)
    assert fingerprint(read_config(runs[0])) == fingerprint(configs[BASES.index("int8")])
    for name in ("model.safetensors", "checkpoint/state.safetensors"):
        found, again = (load_file(run / name) for run in runs)
        assert found.keys() == again.keys()
        assert all(torch.equal(again[key], tensor) for key, tensor in found.items())
    saved = load_file(runs[0] / "model.safetensors")
    codes = [name for name, tensor in saved.items() if tensor.dtype == torch.int8]
    assert codes
    for name in codes:
        scale = saved[name.removesuffix("weight") + "scale"]
        assert scale.dtype == torch.float32
        assert scale.shape == saved[name].shape[1:]  # GPT-2's weights are transposed
    assert main(["export", str(runs[0]), "--out", str(tmp_path / "exported")]) == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    last = json.loads((runs[0] / "metrics.jsonl").read_text().splitlines()[-1])
    assert perplexity(model, runs[0]) == pytest.approx(last["test_perplexity"], rel=1e-5)


@pytest.mark.slow
def test_a_plan_counts_the_bytes_of_the_base(world, tmp_path, capsys):
    """Bytes of codes and scales of output features: GPT-2's blocks have 12 D x D weights and 9 D such features."""
    settings = [*SETTINGS, "client.batch_size=1"]
    costs = {
        base: plan_cost(recipe_config("e2e-gpt2-mini", "heron", [*settings, f"split.base={base}"])) for base in BASES
    }
    parameters = {base: cost.memory_breakdown_bytes["parameters"] for base, cost in costs.items()}
    num_blocks = 2  # one of the client and one of the auxiliary network
    saved_bytes = num_blocks * (12 * WIDTH**2 - 4 * 9 * WIDTH)
    assert parameters["bfloat16"] - parameters["int8"] == saved_bytes > 0
    peaks = [costs[base].peak_memory_bytes for base in BASES]
    assert peaks == sorted(peaks, reverse=True)
    assert len(set(peaks)) == len(BASES)

    path = tmp_path / "plan.json"
    words = [word for setting in (*settings, "split.base=int8") for word in ("--set", setting)]
    assert main(["plan", "e2e-gpt2-mini", "--memory", "64MiB", *words, "--json", str(path)]) == 0
    assert "chosen: client.exact=" in capsys.readouterr().out
    (own,) = (row for row in json.loads(path.read_text())["rows"] if row["default"])
    assert own["memory_breakdown_bytes"]["parameters"] == parameters["int8"]


@pytest.mark.parametrize("damage", ["absent", "truncated", "foreign", "manifest"])
def test_damaged_parts_are_one_line(world, tmp_path, damage):
    from heron.errors import SplitError

    out = tmp_path / "parts"
    assert main(["split-model", str(world / "models" / "tiny"), "--cut", "1", "--out", str(out)]) == 0
    client = out / "client.safetensors"
    if damage == "absent":
        client.unlink()
    elif damage == "truncated":
        client.write_bytes(client.read_bytes()[:200])
    elif damage == "foreign":
        shutil.copy(out / "server.safetensors", client)
    else:
        (out / "manifest.json").write_text('{"format": "heron-parts-1"}')
    with pytest.raises(SplitError) as refusal:
        load_client_parts(out)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("split.cut=3",), "split.cut from 1 to 2"),
        (("split.auxiliary_blocks=5",), "split.auxiliary_blocks from 0 to 2"),
        (("data.max_length=99",), "at most 24"),
        (("data.max_length=3",), "data.max_length"),
        (("split.pretrained=nowhere",), "found none that loads"),
        (("split.lora_rank=0", "split.base=bfloat16"), "split.base=float32"),
        (("split.lora_rank=0", "split.base=int8"), "split.base=float32"),
        (("split.base=int4",), "int8"),
        (("clients.partition=dirichlet",), "use iid or natural"),
        (("clients.partition=natural", "clients.total=9"), "9"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, settings, expected, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert train(tmp_path / "run", *settings) == 2
    said = capsys.readouterr().err.strip()
    assert expected in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_runs_that_are_no_language_models_generate_nothing(tmp_path, capsys):
    assert main(["train", "digits", "--set", "rounds=1", "--out", str(tmp_path / "digits")]) == 0
    assert main(["generate", str(tmp_path / "digits")]) == 2
    assert "language model" in capsys.readouterr().err


def test_splitlora_and_sflv2_are_one_row(capsys):
    assert main(["compare", "e2e-gpt2-mini", "--algorithms", "sflv2,splitlora"]) == 2
    assert "two names" in capsys.readouterr().err
