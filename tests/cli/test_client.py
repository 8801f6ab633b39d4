"""`heron export-client` and `heron client`: from a recipe to a device without PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from heron.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lean") / "bundle"
    assert main(["export-client", "digits", "--set", "client.exact=1", "--out", str(folder)]) == 0
    return folder


def examples(path: Path, *, shape: tuple[int, ...] = (1, 8, 8), dtype: str = "float32") -> Path:
    draw = np.random.default_rng(0)
    np.savez(path, inputs=draw.standard_normal((40, *shape)).astype(dtype), labels=draw.integers(10, size=40))
    return path


def test_a_device_without_torch_tries_it(bundle, tmp_path) -> None:
    """A package named torch that cannot be imported comes first on the path."""
    poison = tmp_path / "torch"
    poison.mkdir()
    (poison / "__init__.py").write_text("raise ImportError('no torch here')", encoding="utf-8")
    data = examples(tmp_path / "mine.npz")
    words = [sys.executable, "-m", "heron.cli.main", "client", "--bundle", bundle, "--data", data, "--dry-run"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert said["algorithm"].strip() == "heron, client.exact=1"
    assert said["parameters"].strip() == "1,998 that learn"
    assert int(said["peak memory"].split()[0]) < 110
    assert "smashed data" in said["upload"]


def test_a_device_without_torch_reads_tables(bundle, tmp_path) -> None:
    """The same pixels in three files; PyTorch cannot be imported."""
    poison = tmp_path / "torch"
    poison.mkdir()
    (poison / "__init__.py").write_text("raise ImportError('no torch here')", encoding="utf-8")
    draw = np.random.default_rng(0)
    pixels, labels = draw.integers(17, size=(20, 64)), draw.integers(10, size=20)
    np.savez(tmp_path / "mine.npz", inputs=(pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8), labels=labels)
    names = [f"pixel{place}" for place in range(64)]
    table = np.column_stack([labels, pixels])
    header = ",".join(["label", *names])
    np.savetxt(tmp_path / "mine.csv", table, "%d", delimiter=",", header=header, comments="")
    columns = dict(zip(["label", *names], map(pa.array, table.T), strict=True))
    parquet.write_table(pa.table(columns), tmp_path / "mine.parquet")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    code = (
        "import sys; from pathlib import Path; from heron.cli.client import client_command\n"
        "for name in sys.argv[2:]: client_command(Path(sys.argv[1]), Path(name))"
    )
    files = [tmp_path / f"mine{suffix}" for suffix in (".npz", ".csv", ".parquet")]
    words = [sys.executable, "-c", code, bundle, *files]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    losses = [line for line in done.stdout.splitlines() if line.startswith("loss")]
    assert len(losses) == 3
    assert len({*losses}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (8, 8)}, "expected inputs of shape (n, 1, 8, 8) and float32, found (n, 8, 8)"),
        ({"dtype": "uint8"}, "found (n, 1, 8, 8) and uint8; convert them as for training"),
    ],
)
def test_data_that_do_not_fit_are_refused(bundle, options: dict, message: str, tmp_path, capsys) -> None:
    data = examples(tmp_path / "mine.npz", **options)
    assert main(["client", "--bundle", str(bundle), "--data", str(data), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--algorithm", "sflv2"], "sflv2: expected clients that learn from probes"),
        (["digits", "--set", "estimator.scheme=jvp"], "found jvp"),
        (["nothing"], "recipe"),
    ],
)
def test_what_cannot_be_exported_is_one_line(words: list[str], message: str, tmp_path, capsys) -> None:
    assert main(["export-client", *words, "--out", str(tmp_path / "bundle")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("changes", [[], ["--set", "client.exact=0", "--set", "update=scalars"]])
def test_a_recipe_trains_with_clients_that_have_no_torch(changes: list[str], tmp_path, capsys) -> None:
    small = ["--set", "client.runtime=onnx", "--set", "rounds=2", "--set", "client.local_steps=2"]
    assert main(["train", "digits", *small, *changes, "--out", str(tmp_path / "run")]) == 0
    assert 'runtime = "onnx"' in (tmp_path / "run" / "config.toml").read_text()
    capsys.readouterr()
