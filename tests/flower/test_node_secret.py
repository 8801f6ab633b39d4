"""The secret of a node, as its app meets it: in a file or in its state, and every fault is a refusal of one line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from heron.flower.records import Identity, Parcel, Refusal, RoundRequest, read_record, write_record
from heron.privacy.journal import read_notes
from heron.privacy.secret_file import SecretFile
from heron.wire import encode
from heron.wire.terms import encode_terms
from tests.engines.test_privacy import federation
from tests.flower.grid import Node, task_identity  # noqa: F401 - a fixture
from tests.flower.private_parties import flower, grid_of

pytest.importorskip("dp_accounting")
LABELS = {"privacy": {"noise": "auto", "delta": 1e-5, "label_epsilon": 3.0}}
BUDGET = {"privacy": {"epsilon": 9.0}}
FOUND = {"fixes_rounds": True}
TWO = {"clients": {"per_round": 2}}
OFF = {"noise": "auto", "delta": 1e-5}


def node(folder: Path | None, **changes: Any) -> Node:
    return grid_of(federation(**changes), folder).nodes[10]


def request(*, planned: int = 4, model_of_seed: int = 0, classes: int = 3, **changes: Any) -> RoundRequest:
    """The request of round 0, of servers that have charged as many releases as they like."""
    own = {key: changes.pop(key) for key in list(changes) if key in RoundRequest.__dataclass_fields__}
    servers = flower(federation(rounds=planned, **changes), grid_of(federation())).servers
    for tensor in servers.fed_server.model.values():
        tensor += 1e-3 * model_of_seed
    terms = replace(servers.terms, upload=replace(servers.terms.upload, num_classes=classes))
    content = encode(servers.fed_server.broadcast(0, 0))
    made = RoundRequest(encode_terms(terms).decode(), 0, 0, 0, -1, 2**20, "a1", "", 9, 24, False, False, content)
    return replace(made, **own)


def answer(asked: Node, record: RoundRequest) -> Parcel | Refusal:
    message = Message(write_record(record), 10, "train.round")
    message.metadata.__dict__["_message_id"] = "1"
    content = asked.app(message, asked.context).content
    return read_record(content, Parcel if "Parcel" in content.config_records else Refusal)


def refused(asked: Node, record: RoundRequest) -> Refusal:
    found = answer(asked, record)
    assert isinstance(found, Refusal)
    assert "\n" not in found.reason
    return found


@pytest.mark.parametrize("in_file", [True, False])
def test_the_same_request_has_the_same_bytes_and_another_model_other_noise(in_file: bool, tmp_path: Path) -> None:
    asked = node(tmp_path if in_file else None)
    first = answer(asked, request())
    if in_file:
        asked.forget()  # a restart
    assert answer(asked, request()) == first
    other = answer(asked, request(model_of_seed=1))
    assert isinstance(other, Parcel)
    assert other.content != first.content
    assert answer(node(None), request()).content != first.content, "a device's noise is its own"


def test_a_client_counts_what_it_releases_and_holds_back_what_was_not_planned(tmp_path: Path) -> None:
    asked = node(tmp_path)
    for seed in (0, 0, 1, 0, 1):
        assert isinstance(answer(asked, request(planned=2, model_of_seed=seed)), Parcel)
    asked.forget()
    found = refused(asked, request(planned=2, model_of_seed=2))
    assert found.fault == "withheld"
    assert "expected at most 2 private releases, which the run's settings plan for this client" in found.reason
    notes = [note for note in read_notes(SecretFile(tmp_path / "secret-0").notes) if note.subject == "release/0"]
    assert len(notes) == 2
    assert isinstance(answer(asked, request(planned=2, model_of_seed=1)), Parcel), "repeated: it says nothing more"


@pytest.mark.parametrize(
    ("begun", "then", "holds"),
    [
        ({}, {"privacy": {"noise": 0.1}}, False),
        ({}, {"privacy": {"clip": 100.0}}, False),
        ({}, {"client": {"local_steps": 4}}, False),
        (BUDGET | FOUND, BUDGET | FOUND | {"planned": 5}, False),
        (BUDGET | FOUND, BUDGET | {"planned": 5}, False),
        (BUDGET, BUDGET | {"planned": 5}, True),
        (TWO, {}, False),
        (TWO, TWO | {"seed": 1}, False),
        ({}, {"least_examples": 40}, False),
        ({}, {"planned": 5}, True),
        ({}, {"client": {"learning_rate": 1e-3}}, True),
    ],
    ids=[
        *("noise", "clip", "steps", "rounds of found noise", "noise found no longer", "rounds within a budget"),
        *("clients", "drawn clients", "least examples", "rounds", "rate"),
    ],
)
def test_the_privacy_of_a_run_is_agreed_on_once(begun: Any, then: Any, holds: bool, tmp_path: Path) -> None:
    """Settings come with each request, so a server could ask for less noise in the middle of a run."""
    asked = node(tmp_path)
    assert isinstance(answer(asked, request(**begun)), Parcel)
    found = answer(asked, request(**then))
    assert isinstance(found, Parcel) == holds
    if isinstance(found, Refusal):
        assert (found.fault, "expected the privacy that this run began with" in found.reason) == ("withheld", True)
    assert isinstance(answer(node(tmp_path), request(**then, run="b2")), Parcel), "another run is another agreement"


def test_a_server_that_charges_less_than_was_released_is_held_back(tmp_path: Path) -> None:
    asked = node(tmp_path)
    assert isinstance(answer(asked, request(charged=1)), Parcel)
    found = refused(asked, request(charged=1, model_of_seed=1))
    assert (found.fault, "charged this client for 2 releases" in found.reason) == ("withheld", True)


def test_a_client_with_fewer_examples_than_the_account_takes_it_to_have_refuses(tmp_path: Path) -> None:
    found = refused(node(tmp_path), request(least_examples=41))
    assert found.fault == "declined"
    assert "expected at least 41 examples, which the account of this run takes it to have, found 40" in found.reason
    silent = request(least_examples=0, run="b2")
    assert "found 40" in refused(node(tmp_path), silent).reason, "a server that does not say"


def test_the_number_of_classes_is_agreed_on(tmp_path: Path) -> None:
    """With the same draws more classes would show every label that was changed."""
    asked = node(tmp_path)
    assert isinstance(answer(asked, request(**LABELS)), Parcel)
    found = refused(asked, request(**LABELS, classes=2**31))
    assert (found.fault, "expected the privacy that this run began with" in found.reason) == ("withheld", True)


def test_a_request_of_a_run_with_secrets_needs_one(tmp_path: Path) -> None:
    """Else a server could ask for the updates themselves, by settings without privacy."""
    asked = node(tmp_path)
    assert isinstance(answer(asked, request()), Parcel)
    found = refused(asked, request(privacy=OFF))
    assert (found.fault, "expected the privacy that this run began with" in found.reason) == ("withheld", True)
    assert isinstance(answer(asked, request(privacy=OFF, run="")), Parcel), "a run without secrets"


def test_a_node_that_servers_take_to_repeat_itself_needs_a_file(tmp_path: Path) -> None:
    assert isinstance(answer(node(tmp_path), request(repeats=True)), Parcel)
    found = refused(node(None), request(repeats=True))
    assert (found.fault, "expected the file of its secret" in found.reason) == ("declined", True)


def test_delta_is_below_one_over_n_of_the_clients_own_examples(tmp_path: Path) -> None:
    """The servers know a least number alone."""
    record = request()
    terms = record.terms.replace('"delta":0.001', '"delta":0.025')
    assert terms != record.terms
    found = refused(node(tmp_path), replace(record, terms=terms))
    assert "expected privacy.delta below 1/n = 0.025 of its 40 examples, found 0.025" in found.reason


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda path: path.chmod(0o644), "has mode 0644, other users may read this secret"),
        (lambda path: path.write_bytes(b"short"), "expected a secret of 32 bytes"),
        (lambda path: path.unlink(), "whose notes are in"),
        (lambda path: path.with_name("secret-0.notes").write_bytes(b"x\n"), "found line 1 damaged"),
        (lambda path: path.write_bytes(bytes(32)), "expected the secret that it had in this run before"),
    ],
    ids=["mode", "damaged", "gone", "notes", "another"],
)
def test_a_damaged_secret_is_one_line(damage: Any, expected: str, tmp_path: Path) -> None:
    asked = node(tmp_path)
    assert isinstance(answer(asked, request()), Parcel)
    damage(tmp_path / "secret-0")
    assert expected in refused(asked, request()).reason


@pytest.mark.parametrize("value", ["", 3])
def test_a_configuration_that_names_no_file_is_one_line(value: Any) -> None:
    asked = node(None)
    asked.context.node_config["secret"] = value
    assert "expected secret as the path of a file" in refused(asked, request()).reason


@pytest.mark.parametrize("run", ["", "a b", "ä"])
def test_a_run_without_a_name_is_refused(run: str) -> None:
    assert "expected the name of a run that needs secrets" in refused(node(None), request(run=run)).reason


@pytest.mark.parametrize("in_file", [True, False])
def test_labels_are_drawn_once_in_a_run_whatever_happens(in_file: bool, tmp_path: Path) -> None:
    """A node that has lost its secret would draw them anew, and both draws together tell more than either."""
    asked = node(tmp_path if in_file else None, **LABELS)
    first = answer(asked, request(**LABELS))
    assert isinstance(first, Parcel)
    again = answer(asked, request(**LABELS, secret=first.secret, model_of_seed=1))
    assert isinstance(again, Parcel)
    assert again.secret == first.secret
    asked.forget()
    for path in tmp_path.iterdir():
        path.unlink()
    found = refused(asked, request(**LABELS, secret=first.secret))
    assert (found.fault, "expected the secret that it had in this run before" in found.reason) == ("withheld", True)


def test_noise_of_a_lost_state_is_a_further_release_where_no_file_is_kept() -> None:
    asked = node(None)
    first = answer(asked, request())
    asked.forget()
    second = answer(asked, request(secret=first.secret))
    assert isinstance(second, Parcel)
    assert second.secret != first.secret


@pytest.mark.parametrize("in_file", [True, False])
def test_a_node_says_whether_it_keeps_its_secret(in_file: bool, tmp_path: Path) -> None:
    from flwr.app import RecordDict

    asked = node(tmp_path if in_file else None)
    message = Message(RecordDict(), 10, "query.identity")
    message.metadata.__dict__["_message_id"] = "1"
    assert read_record(asked.app(message, asked.context).content, Identity).keeps_secret == in_file


def test_the_secret_is_not_in_what_is_sent_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    asked = node(tmp_path)
    found = answer(asked, request())
    key = SecretFile(tmp_path / "secret-0").secret().reveal()
    assert isinstance(found, Parcel)
    assert key not in found.content
    assert key.hex() not in repr(found) + caplog.text
