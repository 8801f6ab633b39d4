"""From a pre-trained directory to parts, a run, its perplexity and an exported model: a small model, small data."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from heron.cli.main import main
from heron.config import load_splits
from heron.config.run_files import read_config
from heron.data import IGNORED
from heron.lm import Adaptation, causal_lm, load_client_parts

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

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
    """A folder `data` with E2E files and `models/tiny` beside it, with a tokenizer of a word a token."""
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


SETTINGS = (
    "split.pretrained=tiny",
    "split.cut=1",
    "data.max_length=20",
    "threads=1",
    "rounds=2",
    "client.batch_size=4",
)


def train(out: Path, *settings: str, algorithm: str = "heron") -> int:
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    return main(["train", "e2e-gpt2-mini", "--algorithm", algorithm, *words, "--out", str(out)])


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


def test_the_exported_model_is_the_runs_by_transformers_alone(run, tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "exported"
    assert main(["export", str(run), "--out", str(out)]) == 0
    model = AutoModelForCausalLM.from_pretrained(out)
    total, count = 0.0, 0
    for inputs, labels in load_splits(read_config(run)).test:
        with torch.no_grad():
            scores = model(inputs[None]).logits[0]
        total += float(cross_entropy(scores, labels, ignore_index=IGNORED, reduction="sum"))
        count += int((labels != IGNORED).sum())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert math.exp(total / count) == pytest.approx(last["test_perplexity"], rel=1e-5)
    ids = AutoTokenizer.from_pretrained(out)("name[A] ||", return_tensors="pt").input_ids
    assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] > ids.shape[1]
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
        smashed = parts.eval()["client"](ids)
        assert torch.equal(smashed, split.client(ids))
        assert torch.equal(parts["auxiliary"](smashed).hidden_BTD, split.auxiliary(smashed).hidden_BTD)
    assert parts["auxiliary"].unembedding.weight is parts["client"].embedding.tokens.weight
    adapted = load_client_parts(out, Adaptation(lora_rank=2, base="bfloat16"))
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    embedding = adapted["client"].embedding.tokens.weight
    assert embedding.dtype == torch.bfloat16
    assert adapted["auxiliary"].unembedding.weight is embedding


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


def test_runs_that_are_no_language_models_are_not_exported(tmp_path, capsys):
    assert main(["train", "digits", "--set", "rounds=1", "--out", str(tmp_path / "digits")]) == 0
    assert main(["export", str(tmp_path / "digits"), "--out", str(tmp_path / "out")]) == 2
    assert "language model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_splitlora_and_sflv2_are_one_row(capsys):
    assert main(["compare", "e2e-gpt2-mini", "--algorithms", "sflv2,splitlora"]) == 2
    assert "two names" in capsys.readouterr().err
