"""Proofs of the drills with secrets: they hold for an undisturbed run, and see what is put into its files."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heron.config import load_splits, recipe_config
from heron.runs.checkpoint import load_checkpoint, save_checkpoint
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from tests.flower.grid import task_identity  # noqa: F401 - a fixture
from tests.flower.lean_parties import federation, grid_of

pytest.importorskip("dp_accounting")
pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SETTINGS = [
    *("clients.total=3", "threads=1", "rounds=2", "client.local_steps=1", "client.optimizer=sgd"),
    *("client.keep_state=false", "update=scalars", "seed_groups=1", "secure_sum=true"),
    *("privacy.noise=5", "privacy.label_epsilon=4"),
]


def without_last(path: Path, subject: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines.remove([line for line in lines if subject.encode() in line][-1])
    path.write_bytes(b"".join(lines))


def with_other(path: Path, subject: str) -> None:
    """A second note on a subject, of another digest."""
    line = next(line for line in path.read_bytes().splitlines() if subject.encode() in line)
    with path.open("ab") as file:
        file.write(line.rpartition(b" ")[0] + b" " + b"0" * 32 + b"\n")


def with_other_bit(path: Path) -> None:
    tensors, facts = load_checkpoint(path)
    name = next(name for name in tensors if name.startswith("main_server"))
    tensors[name].view(-1)[0] += 1
    save_checkpoint(path, tensors, facts)


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


CHARGES, DEVICE = "out/checkpoint/releases.notes", "secrets/secret-1.notes"
Edit = Callable[[Path], Any]
FAULTS: dict[str, tuple[Edit, set[str]]] = {
    "nothing": (lambda _: None, set()),
    "a charge less": (
        lambda it: without_last(it / CHARGES, "charge/1"),
        {"never_undercharged", "charged_exactly_where_nothing_was_charged_twice"},
    ),
    "another release": (
        lambda it: with_other(it / DEVICE, "release/1"),
        {
            *("never_undercharged", "charged_exactly_where_nothing_was_charged_twice"),
            *("releases_of_the_undisturbed_run", "within_what_is_planned"),
        },
    ),
    "two answers": (lambda it: with_other(it / DEVICE, "answer/1"), {"nothing_told_in_two_ways"}),
    "two sums": (lambda it: with_other(it / DEVICE, "sum/1"), {"nothing_told_in_two_ways"}),
    "another secret": (lambda it: with_other(it / CHARGES, "secret/2"), {"one_secret_of_each_client"}),
    "another model": (lambda it: with_other_bit(it / "out/checkpoint/state.safetensors"), {"same_parameters"}),
    "a client less": (
        lambda it: edited(it / "out/metrics.jsonl", '"clients": 3', '"clients": 2'),
        {"everybody_or_no_update", "same_figures_in_every_round"},
    ),
    "a smaller epsilon": (
        lambda it: edited(it / "out/metrics.jsonl", '"epsilon_public": ', '"epsilon_public": -'),
        {"never_undercharged", "charged_exactly_where_nothing_was_charged_twice"},
    ),
}


def test_the_proofs_see_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    lean_nodes, secret_nodes = (importlib.import_module(name) for name in ("lean_nodes", "secret_nodes"))
    config = recipe_config("digits-published", "heron", SETTINGS)
    whole = tmp_path / "whole"
    (whole / "nodes").mkdir(parents=True)
    nodes = secret_nodes.SecretNodes(whole / "secrets", lean_nodes.LeanNodes(whole / "nodes", config, []))
    node_configs = {i: {"partition-id": i, "secret": str(whole / "secrets" / f"secret-{i}")} for i in range(3)}
    run = Run(
        federation(config, grid_of(node_configs)),
        load_splits(config),
        rounds=2,
        directory=RunDirectory(whole / "out"),
    )
    run.train()
    run.finish()
    twins = nodes.in_one_process(whole / "twin", run.federation._notes.run, [])
    monkeypatch.setattr(nodes, "in_one_process", lambda *_: twins)
    kept = tmp_path / "kept"
    shutil.copytree(whole, kept)
    for name, (edit, broken) in FAULTS.items():
        for each in ("out", "secrets"):
            shutil.rmtree(whole / each)
            shutil.copytree(kept / each, whole / each)
        edit(whole)
        holds = nodes.proofs(whole / "out", whole / "twin")["holds"]
        assert {key for key, value in holds.items() if not value} == broken, name
