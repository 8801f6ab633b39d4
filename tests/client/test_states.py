"""States of idle clients are in memory or on disk, and a killed run finds those that its checkpoint names."""

import errno
import gc
import tracemalloc
from pathlib import Path

import pytest
import torch

import heron.files
from heron.client.states import ClientStates
from heron.config import build_run, recipe_config
from heron.errors import CheckpointError
from heron.runs.run_directory import RunDirectory


@pytest.fixture(params=[0, 1, 16], autouse=True)
def room(request, monkeypatch) -> int:
    """Number of clients whose states memory takes."""
    monkeypatch.setattr("heron.client.states._CLIENTS_IN_MEMORY", request.param)
    return request.param


def state(value: float) -> dict[str, torch.Tensor]:
    return {"moment": torch.full((3,), value), "num_steps": torch.tensor(int(value))}


def test_a_state_comes_back_and_belongs_to_the_taker(tmp_path) -> None:
    states = ClientStates(tmp_path)
    assert states.take(4) == {}
    states.keep(4, 0, state(2.0))
    assert states.index() == {"4": 0}
    taken = states.take(4)
    assert {name: tensor.tolist() for name, tensor in taken.items()} == {"moment": [2.0] * 3, "num_steps": 2}
    assert states.take(4) == {}, "a client that drops out forgets"


def test_a_file_that_a_checkpoint_names_stays_until_the_next_checkpoint(tmp_path) -> None:
    states = ClientStates(tmp_path)
    states.keep(1, 0, state(1.0))
    states.sync()
    index = states.index()  # the checkpoint of round 0
    states.take(1)
    states.keep(1, 1, state(2.0))
    states.sync()
    resumed = ClientStates(tmp_path)  # killed before the checkpoint of round 1
    resumed.load_index(index)
    assert resumed.take(1)["moment"].tolist() == [1.0] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["1-0.safetensors"]


def test_prune_removes_what_is_superseded_and_nothing_else(tmp_path) -> None:
    states = ClientStates(tmp_path)
    for client_id in (1, 2):
        states.keep(client_id, 0, state(1.0))
    states.sync()
    states.take(1)
    states.keep(1, 3, state(2.0))
    states.sync()
    states.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-3.safetensors", "2-0.safetensors"]


def test_few_clients_need_no_files_until_a_checkpoint_names_them(tmp_path, room) -> None:
    states, temporary = ClientStates(tmp_path), ClientStates()
    for client_id in range(room):
        states.keep(client_id, 0, state(1.0))
        temporary.keep(client_id, 0, state(1.0))
    assert list(tmp_path.iterdir()) == []
    assert temporary._folder is None
    states.sync()
    assert len(list(tmp_path.iterdir())) == room
    states.keep(room, 0, state(1.0))
    assert (tmp_path / f"{room}-0.safetensors").exists(), "memory is full"


def test_large_states_stay_out_of_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("heron.client.states._BYTES_IN_MEMORY", 19)
    states = ClientStates(tmp_path)
    states.keep(1, 0, state(1.0))  # 3 floats and an integer: 20 bytes
    assert [path.name for path in tmp_path.iterdir()] == ["1-0.safetensors"]


def test_what_is_kept_is_a_copy(tmp_path) -> None:
    states, kept = ClientStates(tmp_path), state(1.0)
    states.keep(1, 0, kept)
    kept["moment"].fill_(5.0)
    assert states.take(1)["moment"].tolist() == [1.0] * 3


def test_a_state_that_nobody_takes_is_replaced(tmp_path) -> None:
    states = ClientStates(tmp_path)
    for round_index in range(3):
        states.keep(1, round_index, state(float(round_index)))
        states.sync()
        states.prune()
        assert [path.name for path in tmp_path.iterdir()] == [f"1-{round_index}.safetensors"]
    assert states.take(1)["num_steps"] == 2
    states.keep(1, 2, state(7.0))  # once more in one round
    states.sync()
    states.prune()
    assert states.take(1)["num_steps"] == 7


def test_an_empty_state_makes_no_file(tmp_path) -> None:
    states = ClientStates(tmp_path)
    states.keep(1, 0, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, None])
def test_a_damaged_file_is_named(tmp_path, content) -> None:
    states = ClientStates(tmp_path)
    states.keep(1, 0, state(1.0))
    states.sync()
    states.load_index(states.index())  # by another process
    (path,) = tmp_path.iterdir()
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"1-0\.safetensors"):
        states.take(1)


def test_without_states_there_is_no_folder(tmp_path) -> None:
    states = ClientStates(tmp_path / "clients")
    states.load_index({})
    assert states.take(1) == {}
    states.keep(1, 0, {})
    states.sync()
    assert not (tmp_path / "clients").exists()


def test_files_are_flushed_before_the_checkpoint_that_names_them(tmp_path, monkeypatch) -> None:
    flushed = []
    for kind in ("_sync_file", "_sync_folder"):
        monkeypatch.setattr(heron.files, kind, lambda path: flushed.append(path.name))
    run = build_run(recipe_config("digits-published", "heron", ["clients.total=3", "rounds=2"]), tmp_path / "run")
    run.train()
    files = [[f"{client_id}-{round_index}.safetensors" for client_id in range(3)] for round_index in range(2)]
    folder = RunDirectory(tmp_path / "run").checkpoint.parent.name
    assert sorted(flushed[:3]) == files[0]
    assert flushed[3:5] == ["clients", folder]  # the states' folder, then the checkpoint
    assert sorted(flushed[5:8]) == files[1]
    assert flushed[8:] == ["clients", folder]


def test_a_run_without_a_directory_flushes_nothing(monkeypatch) -> None:
    for kind in ("_sync_file", "_sync_folder"):
        monkeypatch.setattr(heron.files, kind, None)
    build_run(recipe_config("digits-published", "heron", ["clients.total=3", "rounds=2"]), None).train()


def test_a_full_disk_is_told(tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    states = ClientStates(tmp_path)
    states.keep(1, 0, state(1.0))
    monkeypatch.setattr(heron.files.os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        states.sync()
    monkeypatch.setattr(Path, "write_bytes", full)

    def keep() -> None:
        states.keep(2, 0, state(1.0))
        states.sync()

    with pytest.raises(CheckpointError, match="No space left on device"):
        keep()


def test_the_temporary_folder_goes_with_its_owner(room) -> None:
    states = ClientStates()
    for client_id in range(room + 1):
        states.keep(client_id, 0, state(1.0))
    folder = states._folder
    assert folder.exists()
    del states
    gc.collect()
    assert not folder.exists()


@pytest.mark.slow
def test_an_idle_client_holds_little(tmp_path) -> None:
    """At most 2 KiB beside its indices, state kept: Adam's moments alone are 16 KB a client on `digits`."""

    def held(total: int) -> int:
        gc.collect()
        tracemalloc.start()
        run = build_run(recipe_config("digits-published", "heron", [f"clients.total={total}"]), None)
        before = sum(tensor_bytes())
        run.federation.run_round()
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] + sum(tensor_bytes()) - before
        tracemalloc.stop()
        assert len(run.federation.states.index()) == total
        return size - sum(share.nbytes for share in run.federation.partition)

    def tensor_bytes():
        return {
            item.untyped_storage().data_ptr(): item.untyped_storage().nbytes()
            for item in gc.get_objects()
            if type(item) is torch.Tensor and item.layout == torch.strided
        }.values()

    held(20), held(200)  # imports and the interpreter's tables grow once
    assert (held(200) - held(20)) / 180 <= 2048
