"""A client's theta between rounds: damaged, lost or foreign, and its memory in a round."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from heron.arrays import to_host
from heron.client import states as client_states
from heron.client.opening import Opener
from heron.client.states import ClientStates
from heron.engines.in_process import Federation
from heron.errors import MessageError
from heron.runs import run_loop
from heron.runs.run_directory import RunDirectory
from heron.server.conversation import converse
from heron.wire import ModelBroadcast, ScalarBroadcast, SnapshotRequest
from heron.wire.digests import digest_of
from heron.wire.groups import Client, Probes, Settings
from heron.wire.learning import Learning
from heron.wire.walk_log import flatten, rebuild
from heron.wire.walks import Replayer, RoundWalks, Walk
from tests.algorithms.scalar_runs import (
    GONE,
    assert_same_bits,
    clients,
    dense,
    everything,
    federation,
    kinds,
    learning,
    record,
    run,
)
from tests.tiers import rows
from tests.wire.drawing import tensors

ROUNDS = 5
CLIENT = 1


@pytest.fixture(autouse=True)
def _all_on_disk(monkeypatch) -> None:
    """States in memory would outlive what happens to their files."""
    monkeypatch.setattr(client_states, "_CLIENTS_IN_MEMORY", 0)


def held_file(folder: Path, client_id: int = CLIENT) -> Path:
    (path,) = (folder / "held").glob(f"{client_id}-*.safetensors")
    return path


def flip(path: Path) -> None:
    """A bit of a value in the middle of the file, so high that no rounding swallows it."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 // 4 * 4 + 2] ^= 0x10
    path.write_bytes(data)


def rewrite(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Callable[[Path], None]:
    return lambda path: save_file(change(load_file(path)), path)


def other_shapes(held: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same number of values in other shapes."""
    return {name: tensor.reshape(-1).clone() for name, tensor in held.items()} | {"round": held["round"]}


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a bit": flip,
    "no file": Path.unlink,
    "an empty file": lambda path: path.write_bytes(b""),
    "half a file": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another network's shapes": rewrite(other_shapes),
    "another network's names": rewrite(
        lambda held: {name.replace("client", "customer"): tensor for name, tensor in held.items()}
    ),
    "another type": rewrite(
        lambda held: {name: value.double() if value.is_floating_point() else value for name, value in held.items()}
    ),
    "the future": rewrite(lambda held: held | {"round": held["round"] + 7}),
    "the past": rewrite(lambda held: held | {"round": held["round"] - 1}),
    "a negative round": rewrite(lambda held: held | {"round": torch.tensor(-1)}),
    "many rounds": rewrite(lambda held: held | {"round": torch.zeros(3, dtype=torch.int64)}),
    "no round": rewrite(lambda held: {name: tensor for name, tensor in held.items() if name != "round"}),
    "a round of another type": rewrite(lambda held: held | {"round": held["round"].float()}),
    "a missing tensor": rewrite(lambda held: dict(list(held.items())[1:])),
}
FOUND_AT_ONCE = sorted(set(DAMAGE) - {"a bit"})


def disturbed(damage: Callable[[Path], None], folder: Path, client: Settings, at: int = 2) -> tuple[Federation, str]:
    """A run whose client finds its file damaged in round `at`; the messages of that client."""
    directory = RunDirectory(folder)
    parties = federation(client, wire=True)
    messages = record(parties)
    session = run(parties, at, directory)
    session.train()
    damage(held_file(folder / "checkpoint"))
    session.rounds = ROUNDS
    session.train()
    return parties, kinds(messages, CLIENT)


@pytest.mark.parametrize("damage", rows(DAMAGE, {"a bit", "no file", "the past"}))
def test_damage_heals_by_one_snapshot_and_leaves_no_trace(damage: str, tmp_path) -> None:
    """Any damage is found with a digest every round."""
    undisturbed = run(federation(clients(), wire=True), ROUNDS)
    undisturbed.train()
    parties, said = disturbed(DAMAGE[damage], tmp_path, clients())
    assert said == "SALALRSALALA"
    assert_same_bits(everything(parties), everything(undisturbed.federation))


@pytest.mark.parametrize("damage", rows(FOUND_AT_ONCE, {"half a file", "another type"}))
def test_what_no_theta_can_be_is_found_without_a_digest(damage: str, tmp_path) -> None:
    _, said = disturbed(DAMAGE[damage], tmp_path, clients(digest_period=1000))
    assert said == "SALALRSALALA"


@pytest.mark.parametrize("way", ["after its upload", "before it could learn"])
def test_a_flipped_bit_lasts_until_the_digest_round(way: str, tmp_path) -> None:
    script = {(4, CLIENT): GONE} if way == "before it could learn" else {}
    parties = federation(clients(digest_period=4), wire=True, script=script)
    messages = record(parties)
    session = run(parties, 2, RunDirectory(tmp_path))
    session.train()
    flip(held_file(tmp_path / "checkpoint"))
    same = []
    for rounds in range(3, 7):
        session.rounds = rounds
        before = {name: tensor.clone() for name, tensor in parties.fed_server.theta.items()}
        session.train()
        held = load_file(held_file(tmp_path / "checkpoint"))
        same.append(all(torch.equal(held[f"theta/{name}"], tensor) for name, tensor in before.items()))
    assert same == [False, False, True, True]
    assert kinds(messages, CLIENT) == ("SALALALALRSALA" if not script else "SALALALALRSLA")
    assert kinds(messages).count("R") == 1


def test_what_a_client_keeps_survives_its_request_for_a_snapshot(tmp_path) -> None:
    """SGD that keeps its step count: all files are those of the undisturbed run."""
    kept = []
    for damage in (DAMAGE["no file"], lambda _: None):
        folder = tmp_path / str(len(kept))
        disturbed(damage, folder, clients(keep_state=True))
        kept.append(load_file(folder / "checkpoint" / "clients" / f"{CLIENT}-{ROUNDS - 1}.safetensors"))
    assert kept[0]["num_steps"] == kept[1]["num_steps"] == ROUNDS * 2  # 16 examples in batches of 8


@pytest.mark.parametrize("cut", rows([1, 3, 4, 6], {4}))
def test_resumes_bit_for_bit_where_clients_miss_rounds(cut: int, tmp_path) -> None:
    """Killed in the middle of the round after the checkpoint: what that round wrote does not count."""
    schedule = [[0, 1, 2], [1, 2], [0, 2], [2], [0, 1], [1], [0, 1, 2], [0, 2]]
    script = {(1, 1): GONE, (4, 0): GONE, (5, 1): GONE}
    client = clients(optimizer="adam", learning_rate=0.01)
    changes = {"schedule": schedule, "script": script, "wire": True}
    whole = run(federation(client, **changes), len(schedule), RunDirectory(tmp_path / "whole"))
    whole.train()
    killed = run(federation(client, **changes), cut, RunDirectory(tmp_path / "cut"))
    killed.train()
    killed.federation.run_round()
    resumed = run(federation(client, **changes), len(schedule), RunDirectory(tmp_path / "cut"))
    assert resumed.restore() == cut
    messages = record(resumed.federation)
    resumed.train()
    assert "R" not in kinds(messages)
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()
    names = [held_files(run.directory) for run in (whole, resumed)]
    assert names[0] == names[1]
    twin = run(federation(dense(client), **changes), len(schedule))
    assert learning(twin.train()) == learning(resumed.metrics)
    assert_same_bits(everything(resumed.federation), everything(twin.federation))


def held_files(directory: RunDirectory) -> list[str]:
    return sorted(path.name for path in (directory.checkpoint.parent / "held").iterdir())


def test_files_are_flushed_before_the_checkpoint_that_names_them(tmp_path, monkeypatch) -> None:
    events: list[list[str]] = []
    monkeypatch.setattr(client_states, "sync_to_disk", lambda paths: events.append(sorted(path.name for path in paths)))
    monkeypatch.setattr(run_loop, "save_checkpoint", lambda *_: events.append(["checkpoint"]))
    run(federation(clients()), 1, RunDirectory(tmp_path)).train()
    # States of clients first, of which there are none.
    assert events == [[], [f"{client_id}-0.safetensors" for client_id in range(3)], ["checkpoint"]]


def test_a_client_has_one_file_whatever_it_was_sent(tmp_path) -> None:
    """Snapshots after snapshots, here because theta_a is refreshed, leave none behind."""
    parties = federation(clients(), server={"refresh_auxiliary": True})
    session = run(parties, 4, RunDirectory(tmp_path))
    session.train()
    assert held_files(session.directory) == [f"{i}-3.safetensors" for i in range(3)]
    parties = federation(clients(), server={"refresh_auxiliary": True})
    for _ in range(3):
        parties.run_round()
    assert len(list(parties.held._place().iterdir())) == 3


THETA = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([0.5])}
SGD = Client(optimizer="sgd", learning_rate=0.1)
REPLAYER = Replayer(Learning(Settings(seed=5, update="scalars", client=SGD, estimator=Probes(1e-2, 2))))
WALKS = [RoundWalks(index, (Walk(0, 1, np.ones(4, "f4")), Walk(1, 3, -np.ones(2, "f4")))) for index in (2, 3)]


def opener(store: ClientStates) -> Opener:
    return Opener(store, THETA, REPLAYER)


def log(base: int = 2, digest: int = 0, round_index: int = 4) -> ScalarBroadcast:
    return ScalarBroadcast(round_index, 0, base, digest, *flatten(WALKS), {})


@pytest.mark.slow
def test_every_bit_of_a_file_counts(tmp_path) -> None:
    """Wherever it is flipped, header included: a snapshot is asked for, and nothing else happens."""
    store = ClientStates(tmp_path)
    opener(store).open(ModelBroadcast(2, 0, THETA))
    path = tmp_path / "0-2.safetensors"
    whole = path.read_bytes()
    theta = dict(THETA)
    for done in WALKS:
        theta = REPLAYER.advance(theta, done)
    digest = digest_of(theta)
    for index in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[index // 8] ^= 1 << index % 8
        store = ClientStates(tmp_path / "copy")
        store.load_index({"0": 2})
        (tmp_path / "copy").mkdir(exist_ok=True)
        (tmp_path / "copy" / "0-2.safetensors").write_bytes(damaged)
        opened = opener(store).open(log(digest=digest))
        # A header may name the same tensors in another way: white space, escapes.
        assert opened is None or digest_of(opened) == digest, index
    store = ClientStates(tmp_path)
    store.load_index({"0": 2})
    opened = opener(store).open(log(digest=digest))
    assert opened is not None
    assert_same_bits(opened, theta)


@pytest.mark.parametrize(
    ("held", "base", "usable"), [(2, 2, True), (3, 2, True), (4, 2, True), (5, 2, False), (2, 3, False)]
)
def test_a_log_is_used_where_it_starts_at_or_before_what_is_held(held: int, base: int, usable: bool) -> None:
    store = ClientStates()
    opener(store).open(ModelBroadcast(held, 0, THETA))
    opened = opener(store).open(log(base))
    assert (opened is not None) == usable
    if usable:
        theta = dict(THETA)
        for done in WALKS[held - 2 :]:
            theta = REPLAYER.advance(theta, done)
        assert_same_bits(opened, theta)


@pytest.mark.parametrize(
    "model", [{}, {"a": THETA["a"]}, THETA | {"b": torch.ones(2)}, THETA | {"a": THETA["a"].double()}], ids=str
)
def test_a_snapshot_that_is_not_theta_is_refused_and_not_kept(model: dict[str, Tensor]) -> None:
    store = ClientStates()
    with pytest.raises(MessageError, match="client 0 in round 4: expected all tensors of theta") as caught:
        opener(store).open(ModelBroadcast(3, 0, model))
    assert "\n" not in str(caught.value)
    assert store.index() == {}


ROWS = st.lists(st.lists(st.one_of(st.integers(-1, 4), st.just(2**31 - 1)), min_size=4, max_size=4), max_size=4)
ENTRIES = st.one_of(ROWS.map(lambda rows: torch.tensor(rows, dtype=torch.int32).reshape(-1, 4)), tensors())
SCALARS = st.one_of(
    st.lists(st.floats(width=32, allow_nan=True), max_size=9).map(torch.tensor),
    st.integers(0, 9).map(torch.ones),
    tensors(),
)
NUMBERS = st.one_of(st.integers(0, 6), st.just(2**63 - 1))


@given(entries=ENTRIES, scalars=SCALARS, multiple_of=st.integers(1, 3))
@settings(max_examples=400, deadline=None)
def test_walks_of_any_content_are_rebuilt_or_refused(entries, scalars, multiple_of) -> None:
    try:
        rebuilt = list(rebuild(entries, scalars, multiple_of))
    except MessageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any other error fails the test
        return
    again, scalars_again = flatten(rebuilt)
    assert np.array_equal(again, to_host(entries))
    assert np.array_equal(scalars_again, to_host(scalars))
    assert all(len(walk.scalars_P) % multiple_of == 0 for done in rebuilt for walk in done.walks)


@given(entries=ENTRIES, scalars=SCALARS, numbers=st.tuples(NUMBERS, NUMBERS, NUMBERS), digest=st.sampled_from([0, 1]))
@settings(max_examples=300, deadline=None)
def test_a_broadcast_of_any_content_is_opened_or_refused(entries, scalars, numbers, digest) -> None:
    store = ClientStates()
    opener(store).open(ModelBroadcast(2, 0, THETA))
    round_index, client_id, base = numbers
    try:
        opened = opener(store).open(ScalarBroadcast(round_index, client_id, base, digest, entries, scalars, {}))
    except MessageError:
        assert store.index() == {"0": 2}, "what it holds is still there"
        return
    assert opened is None or opened.keys() == THETA.keys()


@pytest.mark.parametrize(
    ("entries", "scalars", "text"),
    [
        (torch.zeros(1, 4), torch.ones(2), "expected walks as int32"),
        (torch.zeros(4, dtype=torch.int32), torch.ones(2), "expected walks as int32"),
        (torch.zeros(1, 5, dtype=torch.int32), torch.ones(2), "expected walks as int32"),
        (torch.tensor([[0, 0, 1, 2]], dtype=torch.int32), torch.ones(1, 2), "finite floats"),
        (torch.tensor([[0, 0, 1, 2]], dtype=torch.int32), torch.ones(2).int(), "finite floats"),
        (torch.tensor([[0, 0, 1, 2]], dtype=torch.int32), torch.tensor([1, torch.nan]), "finite floats"),
        (torch.tensor([[1, 0, 1, 2], [0, 0, 1, 2]], dtype=torch.int32), torch.ones(4), "order of their rounds"),
        (torch.tensor([[0, 0, 0, 2]], dtype=torch.int32), torch.ones(2), "weights >= 1"),
        (torch.tensor([[0, -1, 1, 2]], dtype=torch.int32), torch.ones(2), "found others"),
        (torch.tensor([[0, 0, 1, 3]], dtype=torch.int32), torch.ones(3), "whole steps"),
        (torch.tensor([[0, 0, 1, 2]], dtype=torch.int32), torch.ones(4), "expected 2 scalars for the walks, found 4"),
    ],
)
def test_each_way_to_be_malformed_is_refused(entries, scalars, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        rebuild(entries, scalars, 2)


class Answering:
    """A link to a client that sends prescribed messages."""

    def __init__(self, *said: list[object]) -> None:
        self.said = [list(each) for each in said]
        self.sent: list[object] = []

    def exchange(self, broadcast):
        self.sent.append(broadcast)
        yield from self.said.pop(0)


def test_a_client_that_asks_for_a_snapshot_twice_is_refused_in_one_line() -> None:
    parties = federation(clients())
    link = Answering([SnapshotRequest(0, 2)], [SnapshotRequest(0, 2)])
    with pytest.raises(MessageError, match=r"^client 2 in round 1: asks for the snapshot that it was sent$"):
        converse(link, parties.fed_server, 0, 2, lambda _: None)
    assert kinds(link.sent) == "SS"


def test_messages_of_another_round_or_client_and_late_requests_are_refused() -> None:
    parties = federation(clients())
    messages = record(parties)
    parties.run_round()
    upload, reply = messages[1], next(message for message in messages if kinds([message]) == "A")
    handled: list[object] = []

    def refused(text: str, *said: object, round_index: int = 0, client_id: int = 0) -> None:
        with pytest.raises(MessageError, match=text):
            converse(Answering(list(said)), parties.fed_server, round_index, client_id, handled.append)

    refused("client 0 in round 2: expected its messages, found client 0 in round 1", reply, round_index=1)
    refused("client 1 in round 1: expected its messages, found client 0 in round 1", upload, client_id=1)
    refused("client 0 in round 1: expected its messages, found client 1 in round 1", SnapshotRequest(0, 1))
    assert handled == []
    refused("client 0 in round 1: asks for a snapshot in the middle of its round", upload, SnapshotRequest(0, 0))
    assert handled == [upload]


@pytest.mark.parametrize("update", rows(["dense", "scalars"], {"scalars"}))
@pytest.mark.parametrize("algorithm", rows(["heron", "hosl"], {"heron"}))
def test_nothing_that_was_received_or_held_is_alive_while_a_client_learns(update: str, algorithm: str) -> None:
    """A snapshot, a log, and theta as it was held and replayed: the client has its own copy of it."""
    parties = federation(clients(update=update), algorithm=algorithm, wire=True)
    alive: list[weakref.ref] = []
    take = parties.held.take

    def watch(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        alive.extend(weakref.ref(array) for array in arrays.values())
        return arrays

    def listen(received: object, _: str) -> None:
        if isinstance(received, ModelBroadcast | ScalarBroadcast):
            watch(received.model)
        if isinstance(received, ScalarBroadcast):
            watch({"entries": received.entries, "scalars": received.scalars})

    passes: list[bool] = []

    def before_forward(*_: object) -> None:
        gc.collect()
        passes.append(all(reference() is None for reference in alive))

    parties.listeners.append(listen)
    parties.held.take = lambda client_id: watch(take(client_id))
    parties.split.client.register_forward_pre_hook(before_forward)
    for _ in range(2):
        parties.run_round()
    assert len(alive) > 20
    assert len(passes) > 20
    assert all(passes)
