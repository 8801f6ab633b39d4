"""Charges on Flower: before a request is sent, once for what a device repeats, and through every kind of end."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from heron.errors import CheckpointError, TrainingError
from heron.flower import DeploymentSettings
from heron.privacy.journal import FileNotes, read_notes
from heron.runs.checkpoint import load_checkpoint
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from tests.engines.test_privacy import federation
from tests.flower.grid import FakeGrid, task_identity  # noqa: F401 - a fixture
from tests.flower.private_parties import flower, flower_run, grid_of
from tests.tiers import rows

pytest.importorskip("dp_accounting")
FORGETFUL: dict[str, Any] = {"client": {"keep_state": False}}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "devices"
    folder.mkdir()
    return folder


def model_of(run: Run) -> torch.Tensor:
    return torch.cat([each.flatten() for each in run.federation.servers.fed_server.global_model().values()])


def killed_in_a_round(run: Run, *, rounds: int) -> None:
    """Kill the server after so many rounds, when all clients of the next one have replied and nothing is saved."""

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    run.rounds = rounds
    run.train()
    run.rounds = 4
    run.federation.servers.run_round = killed
    with pytest.raises(KeyboardInterrupt):
        run.train()


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("rounds", rows([0, 2], []))
def test_a_killed_run_charges_again_what_its_clients_cannot_repeat(
    rounds: int, in_file: bool, secrets: Path, tmp_path: Path
) -> None:
    """With secrets in files the round that was under way is the same release, bit for bit, and charged once."""
    where = secrets if in_file else None
    grid = grid_of(federation(**FORGETFUL), where)
    first = flower_run(tmp_path / "run", grid, **FORGETFUL)
    killed_in_a_round(first, rounds=rounds)
    replies = {client: path.read_bytes() for client, path in streams(first)}
    second = flower_run(tmp_path / "run", again := grid_of(federation(**FORGETFUL), where), **FORGETFUL)
    assert second.restore() == rounds
    assert second.federation.servers.account.rounds == [rounds + 1] * 3
    second.rounds = rounds + 1
    second.train()
    assert second.federation.servers.account.rounds == [rounds + 1 if in_file else rounds + 2] * 3
    assert ({client: path.read_bytes() for client, path in streams(second)} == replies) == in_file
    assert [kind for _, kind in again.handled if kind == "train.round"] == ["train.round"] * 3


def streams(run: Run) -> list[tuple[int, Path]]:
    """Files of the replies that arrived last."""
    folder = run.federation._courier._folder
    return [(client_id, folder / f"{client_id}.stream") for client_id in range(3)]


@pytest.mark.slow
def test_the_account_is_in_metrics_summary_and_checkpoint_and_a_resumed_run_continues_it(
    secrets: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = flower_run(folder, grid_of(federation(), secrets))
    first.rounds = 2
    first.train()
    second = flower_run(folder, grid_of(federation(), secrets))
    assert second.restore() == 2
    rows = second.train()
    second.finish()
    expected = federation()
    for row in rows:
        expected.run_round()
        figures = expected.servers.account.figures()
        assert {key: row[key] for key in figures} == figures
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["privacy"]["client_rounds"] == 4
    assert summary["epsilon_public"] == rows[-1]["epsilon_public"] > rows[0]["epsilon_public"] > 0
    facts = load_checkpoint(folder / "checkpoint" / "state.safetensors")[1]
    assert facts["privacy"] == {"client_rounds": [4, 4, 4], "noise": 2.0}
    notes = read_notes(FileNotes(folder / "checkpoint" / "releases.notes"))
    assert {note.run for note in notes} == {facts["run"]}
    subjects = [note.subject for note in notes]
    assert (subjects.count("charge/1"), subjects.count("secret/1")) == (4, 1)


@pytest.mark.slow
def test_nothing_that_the_servers_hold_has_a_secret_of_a_device(secrets: Path, tmp_path: Path) -> None:
    """Neither the devices' keys nor those of the run that follow from them."""
    run = flower_run(tmp_path / "run", grid_of(federation(), secrets))
    run.train()
    run.finish()
    held = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    for path in secrets.glob("secret-?"):
        assert path.read_bytes() not in held
        assert path.read_bytes().hex().encode() not in held
    assert len(list(secrets.glob("secret-?"))) == 3


@pytest.mark.parametrize(("damage", "found"), [("gone", "none"), ("cut", "older ones")])
def test_a_run_whose_notes_are_not_there_is_not_continued(
    damage: str, found: str, secrets: Path, tmp_path: Path
) -> None:
    first = flower_run(tmp_path / "run", grid_of(federation(), secrets))
    first.rounds = 2
    first.train()
    path = tmp_path / "run" / "checkpoint" / "releases.notes"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    if damage == "gone":
        path.unlink()
    second = flower_run(tmp_path / "run", grid_of(federation(), secrets))
    with pytest.raises(CheckpointError, match=f"expected the notes of this run in .*found {found}") as refused:
        second.restore()
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_private_run_is_not_continued_by_the_other_engine(secrets: Path, tmp_path: Path) -> None:
    """Its clients' secrets are elsewhere: noise and labels would be drawn anew."""
    here = flower_run(tmp_path / "a", grid_of(federation(), secrets))
    here.rounds = 1
    here.train()
    there = Run(federation(), here.splits, rounds=4, directory=RunDirectory(tmp_path / "a"))
    with pytest.raises(CheckpointError, match="found one whose clients are Flower's nodes") as refused:
        there.restore()
    assert "\n" not in str(refused.value)
    there = Run(federation(), here.splits, rounds=1, directory=RunDirectory(tmp_path / "b"))
    there.train()
    back = flower_run(tmp_path / "b", grid_of(federation(), secrets))
    with pytest.raises(CheckpointError, match="expected a run whose clients are Flower's nodes") as refused:
        back.restore()
    assert "\n" not in str(refused.value)


def test_another_configuration_in_the_folder_is_another_run(secrets: Path, tmp_path: Path) -> None:
    """One that was killed before its first checkpoint has its name again, and its charges."""
    first = flower_run(tmp_path / "run", grid_of(federation(), secrets))
    killed_in_a_round(first, rounds=0)
    name = first.federation._notes.run
    assert flower_run(tmp_path / "run", grid_of(federation(), secrets)).federation._notes.run == name
    other = Run(
        flower(federation(), grid_of(federation(), secrets)),
        first.splits,
        rounds=4,
        directory=RunDirectory(tmp_path / "run"),
        fingerprint="another learning rate",
    )
    assert other.federation._notes.run != name
    assert other.federation.servers.account.rounds == [0, 0, 0]


@pytest.mark.parametrize("in_file", [True, False])
def test_a_client_that_is_asked_twice_is_charged_once_if_it_repeats_itself(in_file: bool, secrets: Path) -> None:
    grid = grid_of(federation(), secrets if in_file else None)
    drop_next_reply(grid, 1)
    engine = flower(federation(), grid, retries=1)
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (3, {"late": 1})
    assert engine.servers.account.rounds == [1, 1 if in_file else 2, 1]


@pytest.mark.parametrize("in_file", [True, False])
def test_a_repeated_round_is_charged_if_the_node_had_no_file_then_or_has_none_now(in_file: bool, secrets: Path) -> None:
    """A restart changes whether a node keeps its secret: what it draws anew is a further release."""
    grid = grid_of(federation(), secrets if in_file else None)
    drop_next_reply(grid, 1)
    node = grid.nodes[11]
    dropped, engine = node.tamper, flower(federation(), grid, retries=2)

    def restarted(request: Any, reply: Any) -> Any:
        found = dropped(request, reply)
        if found is None:
            node.forget()
            if in_file:
                del node.context.node_config["secret"]
            else:
                node.context.node_config["secret"] = str(secrets / "secret-1")
                engine._nodes.forget(1)  # seen to disconnect
        return found

    node.tamper = restarted
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (3, {"late": 1} | ({"declined": 1} if in_file else {}))
    assert engine.servers.account.rounds == [1, 2, 1]


def drop_next_reply(grid: FakeGrid, client_id: int) -> None:
    node = grid.nodes[10 + client_id]
    kept = node.tamper

    def dropped(request: Any, reply: Any) -> Any:
        if request.metadata.message_type != "train.round":
            return reply
        node.tamper = kept
        return None

    node.tamper = dropped


@pytest.mark.slow
def test_a_client_whose_budget_is_spent_is_absent_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """Noise for two rounds: the smallest client, which was asked for one of them twice, has no second one left."""
    budget = {"rounds": 2, "privacy": {"noise": "auto", "epsilon": 3.0}}
    grid = grid_of(federation(**budget))
    drop_next_reply(grid, 1)
    engine = flower(federation(**budget), grid, retries=1)
    assert engine.run_round().faults == {"late": 1}
    assert engine.servers.account.rounds == [1, 2, 1]
    engine._settings = DeploymentSettings(min_clients=2, retries=0)
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (2, {"withheld": 1})
    assert "expected rounds within privacy.epsilon=3, found that it is spent" in caplog.text
    assert engine.servers.account.rounds == [2, 2, 2]
    assert engine.servers.account.figures()["epsilon_public"] <= 3.0


@pytest.mark.slow
def test_a_state_that_a_node_has_lost_makes_another_release_which_is_charged_first(secrets: Path) -> None:
    """Moments that are lost between two requests for one round: other noise, of which the servers are told."""
    grid = grid_of(federation(), secrets)
    engine = flower(federation(), grid, retries=1)
    engine.run_round()
    lose_state_and_reply(grid, 1)
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (3, {"late": 1, "lost_state": 1})
    assert engine.servers.account.rounds == released(secrets) == [2, 3, 2]
    assert engine.run_round().faults == {}
    assert engine.servers.account.rounds == released(secrets) == [3, 4, 3]


def lose_state_and_reply(grid: FakeGrid, client_id: int) -> None:
    node = grid.nodes[10 + client_id]
    kept = node.tamper

    def lost(request: Any, reply: Any) -> Any:
        if request.metadata.message_type != "train.round":
            return reply
        node.forget()
        node.tamper = kept
        return None

    node.tamper = lost


def released(secrets: Path) -> list[int]:
    """Number of releases of each client by its own notes."""
    notes = [read_notes(FileNotes(secrets / f"secret-{client_id}.notes")) for client_id in range(3)]
    return [len({note for note in each if note.subject.startswith("release/")}) for each in notes]


@pytest.mark.slow
def test_a_client_whose_releases_are_all_made_is_not_asked_for_more_with_a_state_that_it_has_lost(
    secrets: Path,
) -> None:
    """The last planned release is charged, and there is none after it: nothing is charged in vain."""
    grid = grid_of(federation(rounds=2), secrets)
    engine = flower(federation(rounds=2), grid, retries=1)
    engine.run_round()
    lose_state_and_reply(grid, 1)
    with pytest.raises(TrainingError, match=r"late 1, withheld 1; see the log, lower min_clients"):
        engine.run_round()
    assert engine.servers.account.rounds == released(secrets) == [2, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("killed_again", [False, True])
def test_a_run_that_is_killed_in_a_round_goes_on_although_its_clients_have_lost_their_states(
    killed_again: bool, secrets: Path, tmp_path: Path
) -> None:
    """A resumed run is another one of Flower's, in which clients have kept nothing: all release the round anew."""
    killed_in_a_round(flower_run(tmp_path / "run", grid_of(federation(), secrets)), rounds=1)
    if killed_again:
        again = flower_run(tmp_path / "run", grid_of(federation(), secrets))
        assert again.restore() == 1
        killed_in_a_round(again, rounds=1)
        assert again.federation.servers.account.rounds == released(secrets) == [3, 3, 3]
    second = flower_run(tmp_path / "run", grid_of(federation(), secrets))
    assert second.restore() == 1
    second.rounds = 3
    rows = second.train()
    assert [row.get("faults") for row in rows] == [None, {"lost_state": 3}, None]
    assert second.federation.servers.account.rounds == released(secrets) == [4, 4, 4]


@pytest.mark.parametrize("rounds", rows([0, 1], []))
@pytest.mark.parametrize("in_file", [True, False])
def test_labels_of_a_resumed_run_are_those_that_it_began_with(
    in_file: bool, rounds: int, secrets: Path, tmp_path: Path
) -> None:
    """Nodes without files would draw them a second time, and refuse."""
    labels = {"privacy": {"noise": "auto", "delta": 1e-5, "label_epsilon": 3.0}} | FORGETFUL
    where = secrets if in_file else None
    killed_in_a_round(flower_run(tmp_path / "run", grid_of(federation(**labels), where), **labels), rounds=rounds)
    second = flower_run(tmp_path / "run", grid_of(federation(**labels), where), **labels)
    assert second.restore() == rounds
    if in_file:
        assert len(second.train()) == 4
        return
    with pytest.raises(TrainingError, match="withheld 3; clients hold back what would tell too much"):
        second.train()
