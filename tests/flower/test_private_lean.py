"""Private clients without PyTorch: the same protocol and the same bits, from a secret of their own host."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heron.arrays import to_host
from heron.config import build_federation, export_clients, load_splits, recipe_config
from heron.config.build import client_shares
from heron.data import fetch
from heron.privacy import Secret
from heron.privacy.node_vault import NodeVault
from heron.privacy.secret_file import SecretFile
from tests.flower.grid import task_identity  # noqa: F401 - a fixture
from tests.flower.lean_parties import federation, grid_of
from tests.flower.lean_process import LeanProcess

pytest.importorskip("dp_accounting")
pytestmark = pytest.mark.slow
KNOWN = Secret(bytes(32))
PRIVATE = [
    *("clients.total=3", "threads=1", "rounds=2", "client.exact=0", "client.local_steps=2", "client.optimizer=sgd"),
    *("privacy.noise=2", "privacy.label_epsilon=4", "smashed.clip=2", "smashed.noise=0.1"),
]


def config_of(*changes: str) -> Any:
    return recipe_config("digits-published", "heron", [*PRIVATE, *changes])


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and each client's share of the digits in a file."""
    folder = tmp_path_factory.mktemp("private")
    config = config_of()
    export_clients(config, folder / "bundle")
    splits = load_splits(config)
    for number, share in enumerate(client_shares(config, splits)):
        batch = fetch(splits.train, share)
        np.savez(folder / f"{number}.npz", inputs=to_host(batch.inputs), labels=to_host(batch.labels))
    return folder


def lean(private: Path, number: int, secrets: Path | None = None) -> dict[str, Any]:
    own = {} if secrets is None else {"secret": str(secrets / f"secret-{number}")}
    files = {"bundle": str(private / "bundle"), "data": str(private / f"{number}.npz")}
    return {"partition-id": number} | files | own


def test_lean_nodes_compute_what_lean_clients_in_one_process_do(private, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nodes' secrets replaced by a known one; another test shows that lean clients equal those of PyTorch."""
    monkeypatch.setattr(NodeVault, "releasing", lambda _, client_id: KNOWN.of(client_id))
    monkeypatch.setattr(NodeVault, "secret", property(lambda _: KNOWN, lambda *_: None), raising=False)
    config = config_of("client.runtime=onnx")
    expected = build_federation(config, load_splits(config))
    expected.vault.secret = KNOWN
    engine = federation(config, grid_of({number: lean(private, number) for number in range(3)}))
    for _ in range(2):
        result = engine.run_round()
        assert (result.num_replies, result.faults) == (3, {})
        expected.run_round()
    found, model = engine.servers.fed_server.global_model(), expected.fed_server.global_model()
    assert {name: to_host(each).tobytes() for name, each in found.items()} == {
        name: to_host(each).tobytes() for name, each in model.items()
    }
    assert engine.servers.account.figures() == expected.servers.account.figures()
    assert engine.servers.ledger.by_kind("uplink") == expected.ledger.by_kind("uplink")


def test_a_process_without_torch_is_private_next_to_nodes_with_it(private, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    torch_nodes = {number: {"partition-id": number, "secret": str(secrets / f"secret-{number}")} for number in (0, 2)}
    grid = grid_of(torch_nodes | {1: lean(private, 1, secrets)})
    process = LeanProcess(tmp_path, lean(private, 1, secrets))
    grid.nodes[11].app = process  # type: ignore[assignment]
    engine = federation(config_of("update=scalars", "client.keep_state=false", "seed_groups=1"), grid)
    for _ in range(2):
        result = engine.run_round()
        assert (result.num_replies, result.faults) == (3, {})
    assert process.close() == 0
    digests = {SecretFile(secrets / f"secret-{number}").secret().digest() for number in range(3)}
    assert len(digests) == 3
    assert engine.servers.account.rounds == [2, 2, 2]


def test_a_device_with_fewer_examples_than_the_account_assumes_refuses(private, tmp_path: Path) -> None:
    """Data of its own: the partition of the servers says nothing about them, `privacy.least_examples` does."""
    own = np.load(private / "1.npz")
    np.savez(tmp_path / "few.npz", inputs=own["inputs"][:100], labels=own["labels"][:100])
    nodes = {number: lean(private, number) for number in range(3)}
    nodes[1] |= {"data": str(tmp_path / "few.npz")}
    result = federation(config_of(), grid_of(nodes), min_clients=2).run_round()
    assert (result.num_replies, result.faults) == (2, {"declined": 1})
    engine = federation(config_of("privacy.least_examples=100"), grid_of(nodes))
    assert engine.run_round().num_replies == 3
    assert engine.servers.account.sizes == [100, 100, 100]
