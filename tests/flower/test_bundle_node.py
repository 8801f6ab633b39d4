"""Nodes without PyTorch: a whole round in a process that cannot import it, mixed with nodes that have it."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from heron.apps import client
from heron.apps.client import build
from heron.arrays import to_host
from heron.client.onnx_runtime import open_bundle
from heron.config import build_run, build_servers, load_splits
from heron.engines.bundle_clients import bundle_clients, check_run
from heron.errors import BundleError, ConfigError, DataError
from heron.flower import build_bundle_clients
from heron.privacy.vault import Vault
from tests.flower.grid import FakeGrid, Node, task_identity  # noqa: F401 - a fixture
from tests.flower.lean_parties import SCALARS, config_of, federation, grid_of, lean
from tests.flower.lean_process import LeanProcess


@pytest.mark.parametrize(("bundle", "changes"), [("scalars", SCALARS), ("ho_sfl", [])])
def test_a_process_without_torch_learns_next_to_two_with_it(
    made, bundle: str, changes: list[str], tmp_path, caplog
) -> None:
    """Whole path, both protocols; a client that held other bits than the server would ask for a snapshot."""
    caplog.set_level(logging.INFO)
    grid = grid_of({number: {"partition-id": number} for number in range(3)})
    process = LeanProcess(tmp_path, lean(made, 1, bundle))
    grid.nodes[11].app = process  # type: ignore[assignment]
    algorithm = "ho_sfl" if bundle == "ho_sfl" else "heron"
    engine = federation(config_of(*changes, algorithm=algorithm), grid)
    downlink = []
    for _ in range(2):
        result = engine.run_round()
        downlink.append(engine.servers.ledger.by_kind("downlink"))
        assert result.num_replies == 3
        assert not result.faults
    assert process.close() == 0
    assert "snapshot asked for" not in caplog.text
    if bundle == "scalars":
        assert [kind for _, kind in grid.handled].count("train.round") == 2 * 3
        models = [sizes["model"] for sizes in downlink]
        assert models[0] == models[1]  # round 0 sends models, later ones the scalars of the round before
        assert downlink[1]["scalars"] > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_fed_server_holds_the_bits_of_a_lean_client(made, optimizer: str, monkeypatch) -> None:
    """One client, so that what the server replays from its scalars is the client's own theta."""
    seen = []
    monkeypatch.setattr(client, "build", None)

    def watched(terms, node_config, vault):
        seen.append(build_bundle_clients(terms, node_config, vault))
        return seen[-1]

    from heron.flower import make_client_app

    changes = [*SCALARS, "clients.total=1", f"client.optimizer={optimizer}", "client.keep_state=false"]
    config = config_of(*changes)
    grid = FakeGrid({10: Node(make_client_app(watched), Context(1, 10, lean(made, 0, "scalars"), RecordDict(), {}))})
    engine = federation(config, grid)
    for _ in range(2):
        engine.run_round()
        model = engine.servers.fed_server.global_model()
        theta = seen[-1].runtime.theta.named_tensors()
        assert {name: to_host(model[name]).tobytes() for name in theta} == {
            name: array.tobytes() for name, array in theta.items()
        }


def test_lean_nodes_compute_what_lean_clients_in_one_process_do(made) -> None:
    config = config_of("client.runtime=onnx")
    engine = federation(config, grid_of({number: lean(made, number) for number in range(3)}))
    expected = build_run(config, None).federation
    for _ in range(2):
        assert engine.run_round().client_loss == expected.run_round().client_loss
    found, model = engine.servers.fed_server.global_model(), expected.fed_server.global_model()
    assert {name: to_host(each).tobytes() for name, each in found.items()} == {
        name: to_host(each).tobytes() for name, each in model.items()
    }


def test_a_node_with_torch_refuses_a_run_of_lean_clients(made) -> None:
    config = config_of("client.runtime=onnx")
    terms = build_servers(config, load_splits(config)).terms
    with pytest.raises(ConfigError, match=r"client\.runtime=onnx: expected a bundle in the node's configuration"):
        build(terms, {"partition-id": 0})


def terms_of(*changes: str):
    config = config_of(*changes)
    return build_servers(config, load_splits(config)).terms


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bundle": 3}, "expected bundle as a path in the node's configuration, found 3"),
        ({"data": ""}, "expected data as a path in the node's configuration, found ''"),
        ({"device": "cuda"}, "expected no device but cpu next to bundle, found 'cuda'"),
        ({"threads": 0}, r"threads: expected an integer in \[1, 1024\], found 0"),
        ({"partition-id": "x"}, "expected partition-id as an integer"),
    ],
)
def test_configurations_that_do_not_work_are_one_line(made, change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(terms_of(), lean(made, 0) | change)


def test_what_differs_from_the_run_is_named(made) -> None:
    terms, bundle = terms_of(), open_bundle(made / "heron")
    check_run(bundle, terms)
    estimator = replace(terms.settings.estimator, scheme="jvp")
    frozen = replace(bundle, manifest=replace(bundle.manifest, frozen=(bundle.manifest.inputs,)))
    for each, changed, message in [
        (bundle, replace(terms, algorithm="cse_fsl"), "algorithm cse_fsl, found heron"),
        (bundle, replace(terms, settings=replace(terms.settings, estimator=estimator)), "found jvp"),
        (bundle, replace(terms, network=terms.network | {"cut": "relu9"}), "split.cut 'relu9', found"),
        (frozen, replace(terms, settings=replace(terms.settings, seed=7)), "of the run's seed 7, .* found 0"),
    ]:
        with pytest.raises(BundleError, match=message) as caught:
            check_run(each, changed)
        assert "\n" not in str(caught.value)


def test_examples_that_do_not_fit_are_refused(made, tmp_path) -> None:
    terms = terms_of()
    good = np.load(made / "0.npz")
    for labels, message in [
        (np.where(good["labels"] == 3, 10, good["labels"]), "labels from 0 to 9, found 10"),
        (good["labels"].astype(np.float32), "expected labels of shape"),
    ]:
        np.savez(tmp_path / "odd.npz", inputs=good["inputs"], labels=labels)
        with pytest.raises(DataError, match=message):
            build(terms, lean(made, 0) | {"data": str(tmp_path / "odd.npz")})
    np.savez(tmp_path / "narrow.npz", inputs=good["inputs"][:5], labels=good["labels"][:5].astype(np.int32))
    clients = build(terms, lean(made, 0) | {"data": str(tmp_path / "narrow.npz")})
    assert clients.data(0).batch(np.arange(2), 0).labels.dtype == np.int64
    assert len(clients.data(0)) == 5


def test_labels_that_cannot_be_shown_in_place_of_one_another_are_refused(made, tmp_path) -> None:
    good, node = np.load(made / "0.npz"), lean(made, 0) | {"data": str(tmp_path / "odd.npz")}
    np.savez(tmp_path / "odd.npz", inputs=good["inputs"], labels=np.where(good["labels"] == 3, -100, good["labels"]))
    build(terms_of(), node)
    with pytest.raises(DataError, match=r"expected labels from 0 to 9, found -100; .* leave these examples out"):
        build(terms_of("privacy.label_epsilon=2"), node, Vault())


def test_pairs_and_kernels_of_tensors(made) -> None:
    from heron.data.arrays_file import read_arrays

    terms, bundle, examples = terms_of(), open_bundle(made / "heron"), read_arrays(made / "0.npz")
    one = type(examples)(examples.inputs[:1], examples.labels[:1])
    with pytest.raises(DataError, match="at least 2 examples"):
        bundle_clients(replace(terms, pairs="all"), bundle, 0, one)
    settings = replace(terms.settings, device="cuda", client=replace(terms.settings.client, kernel="triton"))
    made_clients = bundle_clients(replace(terms, settings=settings), bundle, 0, examples)
    assert (made_clients.terms.settings.device, made_clients.learning.client.kernel) == ("cpu", "auto")
    assert json.dumps(made_clients.terms.algorithm) == '"heron"'
