"""Checkpoints are whole or refused; a failed write leaves the old one."""

import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from heron.errors import CheckpointError
from heron.files import write_atomically
from heron.runs.checkpoint import load_checkpoint, save_checkpoint

TENSORS = {"a::x": torch.arange(6.0).view(2, 3), "b::n": torch.tensor(4)}
FACTS = {"next_round": 3, "ledger": {"uplink": {}}}


def test_round_trip_and_equal_bytes(tmp_path) -> None:
    for name in ("one", "two"):
        save_checkpoint(tmp_path / name, TENSORS, FACTS)
    tensors, facts = load_checkpoint(tmp_path / "one")
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert not list(tmp_path.glob("*.tmp"))


@given(length=st.integers(0, 300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_truncated_is_refused(tmp_path, length: int) -> None:
    path = tmp_path / "state"
    save_checkpoint(path, TENSORS, FACTS)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(length, len(whole) - 1)])
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(path)


def test_foreign_safetensors_is_refused(tmp_path) -> None:
    path = tmp_path / "state"
    path.write_bytes(save({"weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        load_checkpoint(path)


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "state"
    write_atomically(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
