"""An exported run: weights that load again without heron's run directory, and a card that a hub reads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from heron.cli.main import main
from heron.config import build_run
from heron.config.run_files import read_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = ("rounds=2", "threads=1", "clients.total=3")
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", "digits", *words, "--save-model", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def exported(run):
    out = run.parent / "exported"
    assert main(["export", str(run), "--out", str(out)]) == 0
    return out


def test_the_folder_is_complete(exported):
    assert {path.name for path in exported.iterdir()} == {"README.md", "config.toml", "model.safetensors"}
    assert str(exported.parent) not in (exported / "README.md").read_text() + (exported / "config.toml").read_text()


def test_weights_are_those_of_the_run(run, exported):
    found, expected = load_file(exported / "model.safetensors"), load_file(run / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_code_of_the_card_loads_the_model(run, exported):
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), flags=re.DOTALL)
    check = "import torch; torch.save(model(torch.ones(2, 1, 8, 8)), 'outputs.pt')"
    subprocess.run([sys.executable, "-c", f"{code}\n{check}"], cwd=exported, check=True, timeout=120)
    model = build_run(read_config(run), run)
    model.restore()
    network = model.federation.load_global_model().eval()
    assert torch.allclose(torch.load(exported / "outputs.pt"), network(torch.ones(2, 1, 8, 8)), atol=1e-5)


@pytest.mark.parametrize("absent", ["everything", "checkpoint"])
def test_what_is_no_finished_run_is_one_line(run, tmp_path, capsys, absent):
    folder = tmp_path / "run"
    folder.mkdir()
    if absent == "checkpoint":
        (folder / "config.toml").write_text((run / "config.toml").read_text())
    assert main(["export", str(folder), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_kept(run, exported, capsys):
    before = (exported / "README.md").read_bytes()
    assert main(["export", str(run), "--out", str(exported)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert (exported / "README.md").read_bytes() == before
    assert not Path(f"{exported}.tmp").exists()
