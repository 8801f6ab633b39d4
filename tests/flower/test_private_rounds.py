"""Private clients on Flower: the mechanism is that of one process, and noise is of each node's own secret."""

from typing import Any

import pytest
import torch
from flwr.app import Message

from heron.errors import TrainingError
from heron.flower.records import Parcel, read_record, write_record
from heron.privacy import Secret
from heron.privacy.node_vault import NodeVault
from heron.privacy.vault import Vault
from tests.engines.test_privacy import SIZES, federation
from tests.flower.grid import task_identity  # noqa: F401 - a fixture
from tests.flower.private_parties import flower, grid_of
from tests.flower.tampering import with_stream
from tests.tiers import rows

pytest.importorskip("dp_accounting")
KNOWN = Secret(bytes(32))
ROWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scalars": {"update": "scalars", "client": {"optimizer": "sgd"}, "seed_groups": 1},
    "exact head": {"client": {"exact": 1}},
    "layer groups": {"split": "deep", "client": {"learning": "local_zeroth_order"}},
    "exact layer groups": {"name": "local", "split": "deep"},
    "passes": {"privacy": {"sampling": "passes"}},
    "drop-outs": {"clients": {"dropout": 0.4, "stragglers": 0.4}, "client": {"keep_state": False}},
    "central, coded, bundled": {"estimator": {"scheme": "central"}, "update_codec": "int8", "link": {"bundle": True}},
    "part of the clients": {"clients": {"per_round": 2}, "smashed": {"codec": "int8"}},
    "labels and uploads": {"privacy": {"label_epsilon": 3.0}, "smashed": {"clip": 2.0, "noise": 0.1}},
    "labels alone": {"privacy": {"noise": "auto", "delta": 1e-5, "label_epsilon": 3.0}},
    "answered": {"name": "sflv2", "privacy": {"noise": "auto", "delta": 1e-5, "label_epsilon": 3.0}},
    "tiny batches": {"client": {"batch_size": 1, "local_steps": 8}},
}


@pytest.mark.parametrize("name", rows(ROWS, {"labels and uploads"}))
def test_with_the_same_secret_it_is_the_run_of_one_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nodes' secrets replaced by a known one, tensors, traffic and figures are equal to the last bit."""
    monkeypatch.setattr(NodeVault, "releasing", lambda _, client_id: KNOWN.of(client_id))
    monkeypatch.setattr(NodeVault, "secret", property(lambda _: KNOWN, lambda *_: None), raising=False)
    changes = {"rounds": 3, **ROWS[name]}
    expected = federation(vault=Vault(KNOWN), **changes)
    found = flower(federation(**changes), grid_of(federation(**changes)))
    for _ in range(3):
        here, there = expected.run_round(), found.run_round()
        assert (there.num_replies, there.participants, there.faults) == (here.num_replies, here.participants, {})
    tensors, facts = expected.state()
    found_tensors, found_facts = found.state()
    assert tensors.keys() == found_tensors.keys()
    assert all(torch.equal(tensors[name], found_tensors[name]) for name in tensors)
    own = {"secret", "run", "held"}
    assert {key: facts[key] for key in facts.keys() - own} == {
        key: found_facts[key] for key in found_facts.keys() - own
    }
    if expected.servers.account is not None:
        assert found.servers.account.figures() == expected.servers.account.figures()
        assert found.servers.account.statement() == expected.servers.account.statement()


@pytest.mark.parametrize("name", ["sflv2", "heron"])
def test_labels_are_not_drawn_again_after_a_first_reply_whatever_becomes_of_it(name: str) -> None:
    """A node without a file restarts in the first round: in the middle of it, or with a reply that cannot be used."""
    changes: dict[str, Any] = {"name": name, "privacy": {"noise": "auto", "delta": 1e-5, "label_epsilon": 3.0}}
    grid = grid_of(federation(**changes))
    node = grid.nodes[11]
    kept = node.tamper

    def restarted(request: Any, reply: Any) -> Any:
        if request.metadata.message_type != "train.round":
            return reply
        node.tamper = kept
        node.forget()
        return reply if name == "sflv2" else with_content(request, reply, b"x" * 40)

    node.tamper = restarted
    engine = flower(federation(**changes), grid, retries=1)
    with pytest.raises(TrainingError, match=r"withheld [12]"):
        engine.run_round()


def with_content(request: Any, reply: Any, content: bytes) -> Message:
    return Message(write_record(with_stream(read_record(reply.content, Parcel), content)), reply_to=request)


def model_of(engine: Any) -> list[float]:
    return torch.cat([each.flatten() for each in engine.servers.fed_server.global_model().values()]).tolist()


@pytest.mark.parametrize("same", ["nodes", "nothing"])
def test_two_noisy_runs_differ(same: str, tmp_path) -> None:
    """On nodes with the same secrets, too: the run has a name of its own."""
    models = []
    for number in range(2):
        folder = tmp_path / ("same" if same == "nodes" else str(number))
        folder.mkdir(exist_ok=True)
        engine = flower(federation(), grid_of(federation(), folder))
        engine.run_round()
        models.append(model_of(engine))
    assert models[0] != models[1]
    assert len(SIZES) == 3
