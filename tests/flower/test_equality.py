"""The Flower engine computes what the in-process engine computes, bit for bit, for every algorithm."""

from typing import Any

import pytest

from heron.runs.run_directory import RunDirectory
from heron.wire.groups import Smashed
from tests.conformance.test_algorithms import ONE_BOUNDARY, SIZES, assert_equal, comparable, federation, run
from tests.flower.grid import task_identity  # noqa: F401 - a fixture
from tests.flower.parties import flower_run, grid_of
from tests.tiers import rows


def assert_same_run(found, expected) -> None:
    assert comparable(found.metrics) == comparable(expected.metrics)
    assert_equal(found.federation.state()[0], expected.federation.state()[0])
    assert facts_of(found) == facts_of(expected)


def facts_of(found) -> dict:
    """Facts of the checkpoint except those of `held`, because clients keep their theta themselves."""
    return found.federation.state()[1] | {"held": {}}


@ONE_BOUNDARY
@pytest.mark.parametrize("keep_state", rows([True, False], [True]))
def test_equals_the_in_process_engine(name: str, keep_state: bool) -> None:
    expected, found = (make(name, keep_state=keep_state, upload_period=2) for make in (run, flower_run))
    expected.train()
    found.train()
    assert_same_run(found, expected)


@pytest.mark.parametrize("name", rows(["heron", "sflv1", "hosl"], {"heron"}))
def test_equals_it_with_part_of_the_clients_drop_outs_and_stragglers(name: str) -> None:
    changes = {"clients": {"per_round": 2, "dropout": 0.3, "stragglers": 0.3}, "local_steps": 3}
    expected, found = (make(name, rounds=8, **changes) for make in (run, flower_run))
    expected.train()
    found.train()
    assert_same_run(found, expected)
    replies = [row["clients"] for row in found.metrics]
    assert min(replies) < 2, "someone dropped out"


@ONE_BOUNDARY
def test_one_message_a_round_where_no_answer_comes_back(name: str) -> None:
    parties = federation(name)
    grid = grid_of(parties)
    flower_run(name, rounds=2, grid=grid).train()
    kinds = [kind for _, kind in grid.handled if kind != "query.identity"]
    assert set(kinds) == {"train.round"}
    num_steps = sum(-(-size // parties.settings.client.batch_size) for size in SIZES)
    estimator = parties.clients.learning.estimator
    probes = estimator.num_probe_forwards if parties.algorithm.answers == "loss" else 0
    # In a coupled round one opens it and one carries each answer.
    answers = 0 if parties.algorithm.answers is None else num_steps * (1 + probes)
    assert len(kinds) == 2 * (len(SIZES) + answers)


@pytest.mark.parametrize("name", rows(["heron", "sflv2", "hosl"], {"sflv2"}))
def test_long_replies_come_in_pieces_and_compute_the_same(name: str) -> None:
    expected, whole = run(name, rounds=2), flower_run(name, rounds=2)
    expected.train()
    whole.train()
    grid = grid_of(federation(name))
    found = flower_run(name, rounds=2, grid=grid, settings={"max_reply_bytes": 1024})
    found.train()
    assert_same_run(found, expected)
    assert ("train.part") in {kind for _, kind in grid.handled}


@pytest.mark.parametrize("name", rows(["heron", "fsl_sage", "sflv1", "ho_sfl"], {"heron", "sflv1"}))
def test_order_of_arrival_does_not_matter(name: str) -> None:
    grid = grid_of(federation(name))
    for position, node in enumerate(grid.nodes.values()):
        node.delay_s = 5.0 * position  # the first client last
    expected, found = run(name), flower_run(name, grid=grid)
    expected.train()
    found.train()
    assert_same_run(found, expected)


@ONE_BOUNDARY
def test_a_run_that_one_engine_began_goes_on_in_the_other(name: str, tmp_path) -> None:
    """Clients keep nothing between rounds here, and the server's checkpoint is the same file."""
    whole = run(name, RunDirectory(tmp_path / "whole"), keep_state=False)
    whole.train()
    run(name, RunDirectory(tmp_path / "cut"), rounds=1, keep_state=False).train()
    for make, rounds in ((flower_run, 2), (run, 3), (flower_run, 4)):
        resumed = make(name, RunDirectory(tmp_path / "cut"), rounds=rounds, keep_state=False)
        assert resumed.restore() == rounds - 1
        resumed.train()
    found, expected = (comparable(each.directory.read_metrics()) for each in (resumed, whole))
    if resumed.federation.servers.terms.replayed:  # clients that hold nothing ask for snapshots
        assert found[-1]["downlink_bytes"] > expected[-1]["downlink_bytes"]
        assert without_bytes(found) == without_bytes(expected)
        assert_equal(resumed.federation.state()[0], whole.federation.state()[0])
        return
    assert found == expected
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()


def without_bytes(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if "bytes" not in key} for row in rows]


LITTLE_TRAFFIC: list[tuple[str, dict[str, Any]]] = [
    ("heron", {"smashed": Smashed("int8")}),
    ("heron", {"smashed": Smashed("int4", zstd=True), "server": {"reuse": 2, "buffer_size": 3}}),
    ("heron", {"smashed": Smashed("dither6", zstd=True), "link": {"bundle": True}}),
    ("sflv2", {"smashed": Smashed("fp16", zstd=True)}),
    ("ho_sfl", {"smashed": Smashed("int8"), "update_codec": "int8"}),
    ("heron", {"update_codec": "int8"}),
    ("sflv1", {"update_codec": "int4"}),
    ("hosl", {"update_codec": "int8"}),
    ("hosl, scalars", {"update_codec": "int8"}),
    ("heron, exact head, scalars", {"smashed": Smashed("int8"), "update_codec": "int8", "server": {"reuse": 1}}),
    ("fsl_sage", {"smashed": Smashed("int8"), "update_codec": "fp16"}),
    ("heron", {"link": {"bundle": True}, "upload_period": 2}),
    ("fedavg", {"link": {"bundle": True}}),
    ("heron", {"link": {"bundle": True}, "smashed": Smashed("int8"), "clients": {"per_round": 2, "dropout": 0.3}}),
    ("heron, scalars", {"link": {"bundle": True}, "update_codec": "int8", "clients": {"per_round": 1}}),
]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param(*row, marks=[] if number % 4 == 1 else pytest.mark.slow)
        for number, row in enumerate(LITTLE_TRAFFIC)
    ],
)
def test_equals_it_with_little_traffic(name: str, changes: dict[str, Any]) -> None:
    expected, found = (make(name, **{"clients": {"per_round": 2}} | changes) for make in (run, flower_run))
    expected.train()
    found.train()
    assert_same_run(found, expected)
