"""What clients, servers and strangers must not do to sums under masks: refused, by name; what a server sees."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message
from numpy.typing import NDArray

from heron.arrays import to_host
from heron.client.mask_keeper import MaskKeeper
from heron.engines.clients import Clients
from heron.flower import run_notes
from heron.flower.records import (
    CONTENT,
    MaskQuestion,
    Parcel,
    Refusal,
    RoundRequest,
    is_record,
    read_record,
    write_record,
)
from heron.privacy.masks import Covered, member
from heron.privacy.masks.keys import NUM_BYTES
from heron.wire import Reply, ScalarReply, decode, encode
from heron.wire.mask_messages import ROSTER, KeyRequest, PublicKey, Unmasked, Unmasking
from tests.engines.test_secure_sum import SIZES, federation
from tests.flower.grid import FakeGrid, Node, task_identity  # noqa: F401 - a fixture
from tests.flower.mask_parties import flower, grid_of, model_of, started
from tests.flower.parties import node_of
from tests.flower.tampering import each, tamper, with_stream

Edit = Callable[[Any], Any]


def spoil(node: Node, kind: type, edit: Edit) -> None:
    """Change a node's answers of a kind to questions about masks."""

    def changed(request: Message, reply: Message) -> Message:
        if request.metadata.message_type != "train.masks":
            return reply
        parcel = read_record(reply.content, Parcel)
        answer = decode(parcel.content)
        if not isinstance(answer, kind):
            return reply
        found = edit(answer)
        content = found if isinstance(found, bytes) else encode(found)
        return Message(write_record(with_stream(parcel, content)), reply_to=request)

    node.tamper = changed


def with_byte(array: Any) -> NDArray[np.uint8]:
    changed = to_host(array).copy()
    changed.reshape(-1)[0] ^= 1
    return changed


def test_a_wrong_share_ends_the_round_by_name(caplog) -> None:
    grid, engine = started()
    before = model_of(engine)
    spoil(node_of(grid, 1), Unmasked, lambda it: replace(it, revealed=with_byte(it.revealed)))
    with pytest.warns(UserWarning, match="expected what client 1 was given for client 0, found another answer"):
        result = engine.run_round()
    assert (result.num_replies, result.faults) == (0, {"secure_sum": 1})
    assert "expected what client 1 was given for client 0" in caplog.text
    assert model_of(engine) == before


@pytest.mark.slow
def test_a_wrong_key_ends_the_round_by_name_before_anything_is_told_and_is_asked_for_again() -> None:
    grid, engine = started()
    spoil(node_of(grid, 1), PublicKey, lambda it: replace(it, key=with_byte(it.key)))
    with pytest.warns(UserWarning, match="clients 0 and 1 to have the same mask, found two"):
        assert engine.run_round().faults == {"secure_sum": 1}
    assert [kind for _, kind in grid.handled].count("train.masks") == len(SIZES)
    node_of(grid, 1).tamper = lambda _, reply: reply
    assert engine.run_round().faults == {}


@pytest.mark.slow
def test_a_node_that_has_lost_its_secret_is_asked_for_its_new_key() -> None:
    grid, engine = started()
    engine.run_round()
    node_of(grid, 1).forget()
    with pytest.warns(UserWarning, match="1 to have the same mask, found two: one was given a wrong public key or has"):
        assert engine.run_round().faults == {"secure_sum": 1}
    assert engine.run_round().faults == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "edit"),
    [
        ("malformed", lambda it: replace(it, revealed=to_host(it.revealed)[1:])),
        ("malformed", lambda it: replace(it, revealed=to_host(it.revealed).astype(np.int64))),
        ("malformed", lambda it: PublicKey(it.round_index, it.client_id, np.zeros(NUM_BYTES, np.uint8))),
        ("stale", lambda it: replace(it, round_index=5)),
        ("stale", lambda it: replace(it, client_id=2)),
        ("undecodable", lambda it: b"x" * 40),
        ("too_large", lambda it: b"x" * 8192),
    ],
)
def test_an_answer_that_cannot_be_used_is_as_good_as_none(fault: str, edit: Edit) -> None:
    """Nobody has dropped out before, so that the other clients' shares are enough."""
    grid, engine = started()
    spoil(node_of(grid, 1), Unmasked, edit)
    result, expected = engine.run_round(), federation()
    assert (result.num_replies, result.faults) == (len(SIZES), {fault: 1})
    expected.run_round()
    assert model_of(engine) == model_of(expected)


@pytest.mark.slow
@pytest.mark.parametrize("key", [np.zeros(31, np.uint8), np.zeros((2, 16), np.uint8), np.zeros(32, np.int8)])
def test_a_client_without_a_key_has_no_seat(key: NDArray[Any]) -> None:
    grid, engine = started()
    spoil(node_of(grid, 1), PublicKey, lambda it: replace(it, key=key))
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (len(SIZES) - 1, {"malformed": 1})


def changed_model(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    return each(ScalarReply, model=lambda it: change(it.model))


@pytest.mark.slow
@pytest.mark.parametrize(
    "edit",
    [
        each(Reply, num_examples=lambda it: 9),
        each(Reply, train_loss=lambda it: torch.tensor(0.5)),
        each(ScalarReply, projected_gradients=lambda it: it.projected_gradients[1:]),
        each(ScalarReply, projected_gradients=lambda it: it.projected_gradients.double()),
        changed_model(lambda model: {}),
        changed_model(lambda model: model | {"x": model["masks.marks"]}),
        changed_model(lambda model: model | {"masks.marks": model["masks.marks"][1:]}),
        changed_model(lambda model: model | {"masks.sealed": model["masks.sealed"][:, 1:]}),
        changed_model(lambda model: model | {"masks.sealed": model["masks.sealed"].char()}),
        lambda parcel: replace(parcel, num_examples=parcel.num_examples + 1),
    ],
)
def test_a_reply_that_is_no_sum_under_masks_is_refused(edit: Any) -> None:
    grid, engine = started()
    tamper(node_of(grid, 1), edit)
    result = engine.run_round()
    assert (result.num_replies, result.faults) == (len(SIZES) - 1, {"malformed": 1})


def recorded(grid: FakeGrid, client_id: int) -> dict[str, list[tuple[Message, Message]]]:
    """All requests to a client from now on with their replies, by kind."""
    seen: dict[str, list[tuple[Message, Message]]] = {}

    def watch(request: Message, reply: Message) -> Message:
        seen.setdefault(request.metadata.message_type, []).append((request, reply))
        return reply

    node_of(grid, client_id).tamper = watch
    return seen


def asked(node: Node, request: Message, change: Edit | None = None) -> Message:
    """Ask a node once more, with a changed message."""
    record = read_record(request.content, MaskQuestion if is_record(request.content, MaskQuestion) else RoundRequest)
    if change is not None:
        record = replace(record, content=encode(change(decode(record.content))))
    message = Message(write_record(record), 1, request.metadata.message_type)
    message.metadata.__dict__["_message_id"] = "1"
    return node.app(message, node.context)


def content_of(reply: Message) -> bytes:
    return bytes(reply.content[CONTENT][CONTENT].data)


def refusal(reply: Message) -> tuple[str, str]:
    found = read_record(reply.content, Refusal)
    return found.fault, found.reason


@pytest.fixture
def replay(tmp_path: Path) -> tuple[Node, dict[str, list[tuple[Message, Message]]]]:
    """A client with a file of its secret, and its messages of a round and of the one before."""
    parties = federation()
    grid = grid_of(parties, secrets=tmp_path)
    engine = flower(parties, grid)
    seen = recorded(grid, 1)
    engine.run_round()
    engine.run_round()
    return node_of(grid, 1), seen


def other_roster(broadcast: Any) -> Any:
    roster = to_host(broadcast.model[ROSTER])
    return replace(broadcast, model=broadcast.model | {ROSTER: roster[1:]})


def other_model(broadcast: Any) -> Any:
    changed = {
        name: array if name == ROSTER or to_host(array).dtype.kind != "f" else to_host(array) + np.float32(0.5)
        for name, array in broadcast.model.items()
    }
    return replace(broadcast, model=changed)


def test_messages_that_come_again_get_the_same_answer_and_no_other(replay) -> None:
    node, seen = replay
    key, (round_0, round_1), question_0 = seen["train.masks"][0], seen["train.round"], seen["train.masks"][1]
    question_1 = seen["train.masks"][2]
    assert content_of(asked(node, key[0])) == content_of(key[1])
    assert content_of(asked(node, question_1[0])) == content_of(question_1[1])
    fault, reason = refusal(asked(node, question_0[0]))  # of a round that is over
    assert fault == "lost"
    fault, reason = refusal(asked(node, round_0[0]))
    assert (fault, "expected a round from 2 on" in reason) == ("withheld", True)
    flip = lambda it: replace(it, arrived=np.arange(6) > 0)  # noqa: E731
    fault, reason = refusal(asked(node, question_1[0], flip))
    assert (fault, "expected one list of those that are missing, found a second one" in reason) == ("declined", True)
    for change, expected in [
        (other_roster, "expected the clients that it has masks with in this round, found others"),
        (lambda it: replace(it, round_index=0), "expected the broadcast of the request's round and client"),
    ]:
        _, reason = refusal(asked(node, round_1[0], change))
        assert expected in reason


@pytest.mark.slow
def test_other_values_under_the_same_masks_are_withheld(tmp_path) -> None:
    """A model that changed under way; also if the node has been restarted since, and kept its file alone."""
    parties = federation()
    grid = grid_of(parties, secrets=tmp_path)
    engine, seen = flower(parties, grid), recorded(grid, 1)
    engine.run_round()
    node, (request, reply) = node_of(grid, 1), seen["train.round"][0]
    for restarts in (False, True):
        if restarts:
            node.forget()
        fault, reason = refusal(asked(node, request, other_model))
        assert fault == "withheld"
        assert ("found another: both together" if restarts else "expected the values that it has covered") in reason
        assert content_of(asked(node, request)) == content_of(reply)
    node.forget()
    fault, _ = refusal(asked(node, seen["train.masks"][1][0]))
    assert fault == "lost"
    content = content_of(asked(node, request))
    assert content == content_of(reply)
    flip = lambda it: replace(it, arrived=np.arange(6) > 0)  # noqa: E731
    fault, reason = refusal(asked(node, seen["train.masks"][1][0], flip))
    assert (fault, "both together would tell" in reason) == ("withheld", True), "it has told another list before"
    assert content_of(asked(node, seen["train.masks"][1][0])) == content_of(seen["train.masks"][1][1])


@pytest.mark.slow
def test_questions_of_others_are_refused() -> None:
    grid, engine = started()
    seen = recorded(grid, 1)
    engine.run_round()
    node, (request, _) = node_of(grid, 1), seen["train.masks"][1]
    for change, expected in [
        (lambda it: replace(it, client_id=2), "of the record's round and client"),
        (lambda it: ScalarReply(0, 1, 1, 1, np.float32(0), np.zeros(1, np.float32), {}), "found another message"),
        (lambda it: replace(it, arrived=np.zeros(6)), "expected whether each reply has arrived"),
        (lambda it: replace(it, sealed=np.zeros((6, 47), np.uint8)), "expected bytes of shape"),
        (lambda it: replace(it, sealed=np.zeros((6, 48), np.uint8)), "sealed for this client and round"),
    ]:
        assert expected in refusal(asked(node, request, change))[1]
    for changes, expected in [({"client_id": 2}, "expected a request for client 1"), ({"run": ""}, "name of a run")]:
        record = replace(read_record(request.content, MaskQuestion), **changes)
        message = Message(write_record(record), 1, "train.masks")
        message.metadata.__dict__["_message_id"] = "1"
        assert expected in refusal(node.app(message, node.context))[1]


def seen_by_the_server(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Everything that reaches the servers in a round of a run of one name, from nodes with these secrets."""
    monkeypatch.setattr(run_notes.secrets, "token_hex", lambda _: "a" * 32)
    parties = federation()
    grid = grid_of(parties, secrets=secrets)
    engine, arrived = flower(parties, grid), []

    def watch(request: Message, reply: Message) -> Message:
        arrived.append((request.metadata.dst_node_id, request.metadata.message_type, content_of_any(reply)))
        return reply

    for node in grid.nodes.values():
        node.tamper = watch
    engine.run_round()
    return [content for *_, content in sorted(arrived)]


def content_of_any(reply: Message) -> bytes:
    return content_of(reply) if CONTENT in reply.content.array_records else b""


@pytest.mark.slow
def test_the_servers_cannot_tell_two_worlds_with_the_same_sum_apart(tmp_path, monkeypatch) -> None:
    """Clients 1 and 2 swap what they add. If their common mask is another random one, every byte is the same."""
    values: dict[int, NDArray[np.int64]] = {}
    keepers: dict[int, MaskKeeper] = {}
    cover = MaskKeeper.cover

    def told(self: MaskKeeper, round_index: int, client_id: int, values_D: NDArray[np.int64]) -> Covered:
        values[client_id], keepers[client_id] = values_D.copy(), self
        return cover(self, round_index, client_id, values_D)

    monkeypatch.setattr(MaskKeeper, "cover", told)
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    for client_id in range(len(SIZES)):
        for folder in folders:
            path = folder / f"{client_id}.secret"
            path.write_bytes(bytes([client_id + 1]) * NUM_BYTES)
            path.chmod(0o600)
    first = seen_by_the_server(folders[0], monkeypatch)
    mask = keepers[1]._members[1][1]._pairs[2].mask
    shift = (values[1] - values[2]).view(np.uint64)
    everything = b"".join(first)
    assert mask not in everything
    assert all(bytes([one + 1]) * NUM_BYTES not in everything for one in range(len(SIZES)))
    true_mask = member.mask_of
    plain = dict(values)

    def swapped(self: MaskKeeper, round_index: int, client_id: int, values_D: NDArray[np.int64]) -> Covered:
        assert np.array_equal(values_D, plain[client_id])
        return cover(self, round_index, client_id, plain[{1: 2, 2: 1}.get(client_id, client_id)])

    monkeypatch.setattr(MaskKeeper, "cover", swapped)
    third = seen_by_the_server(folders[1], monkeypatch)
    assert third != first
    monkeypatch.setattr(
        member, "mask_of", lambda key, length: true_mask(key, length) + (shift if key == mask else np.uint64(0))
    )
    assert seen_by_the_server(folders[2], monkeypatch) == first


@pytest.mark.slow
def test_questions_build_no_network(monkeypatch) -> None:
    """A node answers them in the time of an import."""
    grid, engine = started()
    engine.run_round()
    node = node_of(grid, 1)
    monkeypatch.setattr(Clients, "__init__", lambda *_: pytest.fail("the client's side was built"))
    for message, kind in ((KeyRequest(1, 1), PublicKey), (Unmasking(1, 1, *nothing_arrived()), None)):
        record = MaskQuestion(1, 1, 2**20, "a" * 32, False, encode(message))
        request = Message(write_record(record), 1, "train.masks")
        request.metadata.__dict__["_message_id"] = "1"
        reply = node.app(request, node.context)
        if kind is None:
            assert refusal(reply)[0] == "lost", "it has covered nothing in this round"
        else:
            assert isinstance(decode(content_of(reply)), kind)


def nothing_arrived() -> tuple[NDArray[Any], NDArray[Any]]:
    return np.zeros(6, bool), np.zeros((6, 48), np.uint8)
