"""A user's own table of texts on the command line: trained on, exported, loaded by `transformers` alone."""

import json
import re
import subprocess
import sys

import pytest

from heron.cli.main import main

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from tests.lm.text_world import SETTINGS, make_world


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def data_here(data, monkeypatch):
    monkeypatch.setenv("HERON_DATA", str(data))


def train(recipe, out, *settings):
    return main(["train", recipe, *(word for setting in settings for word in ("--set", setting)), "--out", str(out)])


@pytest.mark.slow
def test_columns_are_keys_and_the_export_loads_by_the_library(tmp_path):
    assert train("sst2-minilm", tmp_path / "run", *SETTINGS) == 0
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 <= row["test_accuracy"] <= 1
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    subprocess.run(
        [sys.executable, "-c", f"{code}\nassert scores.shape == (1, 3)"],
        cwd=tmp_path / "out",
        env={"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""},
        check=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("recipe", "changes", "complaint"),
    [
        ("sst2-minilm", ["split.num_classes=2"], "expected split.num_classes=3, the number of labels of the data text"),
        ("sst2-minilm", ["data.text_column=text"], "expected one column 'text', found review, stars"),
        ("sst2-minilm", ["data.train=other.csv"], "as data.train and data.test, found 'other.csv'"),
        ("sst2-minilm", ["data.name=sst2"], "unknown key 'data.train', which data.name=text has"),
    ],
)
def test_what_does_not_fit_is_one_line(recipe, changes, complaint, tmp_path, capsys):
    assert train(recipe, tmp_path / "run", *SETTINGS, *changes) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("recipe", "settings", "complaint"),
    [
        ("digits", ["data.name=text"], "expected a classifier of texts for the data text, found digits_cnn"),
        ("e2e-gpt2-mini", ["data.name=sst2"], "expected a classifier of texts for the data sst2, found causal_lm"),
        ("sst2-minilm", ["data.name=e2e"], "expected a causal language model for the data e2e, found text_classifier"),
        ("sst2-minilm", ["data.name=digits"], "expected a network of numbers for the data digits, found text_cl"),
    ],
)
def test_data_that_a_network_does_not_read_are_refused(recipe, settings, complaint, tmp_path, capsys):
    assert train(recipe, tmp_path / "run", *settings) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said
    assert len(said.splitlines()) == 1
