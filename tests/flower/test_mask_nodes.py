"""Sums under masks of nodes without PyTorch, of both kinds, and with noise."""

import numpy as np
import pytest
from numpy.typing import NDArray

from heron.client.mask_keeper import MaskKeeper
from heron.config import build_run
from heron.errors import ConfigError
from heron.privacy.masks import Covered
from heron.runs.run_directory import RunDirectory
from tests.engines.test_secure_sum import SIZES
from tests.engines.test_secure_sum import federation as mask_federation
from tests.flower.grid import task_identity  # noqa: F401 - a fixture
from tests.flower.lean_parties import MASKED, config_of, federation, grid_of, lean, mixed_grid
from tests.flower.lean_process import LeanProcess
from tests.flower.mask_parties import flower, model_of, run_of
from tests.flower.mask_parties import grid_of as mask_grid


def test_lean_nodes_add_up_what_lean_clients_in_one_process_do(made) -> None:
    config = config_of(*MASKED, "client.runtime=onnx")
    engine = federation(config, grid_of({number: lean(made, number, "scalars") for number in range(3)}))
    expected = build_run(config, None).federation
    for _ in range(2):
        result = engine.run_round()
        assert (result.num_replies, result.faults) == (3, {})
        assert result.client_loss == expected.run_round().client_loss
    assert model_of(engine) == model_of(expected)


@pytest.mark.slow
def test_nodes_of_both_kinds_have_masks_in_common(made, tmp_path) -> None:
    """One of them is a process that cannot import PyTorch."""
    grid = mixed_grid(made, [1, 2], "scalars")
    process = LeanProcess(tmp_path, lean(made, 1, "scalars"))
    grid.nodes[11].app = process  # type: ignore[assignment]
    engine, plain = federation(config_of(*MASKED), grid), build_run(config_of(*MASKED), None).federation
    for _ in range(2):
        result = engine.run_round()
        assert (result.num_replies, result.faults) == (3, {})
        assert result.client_loss == pytest.approx(plain.run_round().client_loss, rel=1e-3)
    assert process.close() == 0
    assert engine.servers.ledger.uplink_bytes == plain.ledger.uplink_bytes


@pytest.mark.slow
def test_noise_and_masks_go_together_and_a_resumed_run_repeats_its_release_under_other_masks(
    tmp_path, monkeypatch
) -> None:
    """The second round of the first run is not recorded; what it added is added again, under other masks."""
    pytest.importorskip("dp_accounting")
    added: list[tuple[int, int, bytes, bytes]] = []
    cover = MaskKeeper.cover

    def watched(self: MaskKeeper, round_index: int, client_id: int, values_D: NDArray[np.int64]) -> Covered:
        covered = cover(self, round_index, client_id, values_D)
        added.append((round_index, client_id, values_D.tobytes(), covered.masked_D.tobytes()))
        return covered

    monkeypatch.setattr(MaskKeeper, "cover", watched)
    engines = []
    for number in range(2):
        parties = mask_federation(privacy={"noise": 2.0, "delta": 1e-3}, rounds=2)
        engines.append(flower(parties, mask_grid(parties, run_id=1 + number, secrets=tmp_path)))
        run = run_of(engines[-1], rounds=1 + number, directory=RunDirectory(tmp_path / "run"))
        assert run.restore() == number
        run.train()
        if not number:
            assert engines[0].run_round().faults == {}
    again = [one for one in added if one[0] == 1]
    rounds = [sorted(again[: len(SIZES)]), sorted(again[len(SIZES) :])]
    assert [one[:3] for one in rounds[0]] == [one[:3] for one in rounds[1]]
    assert all(mine[3] != theirs[3] for mine, theirs in zip(*rounds, strict=True))
    assert model_of(engines[0]) == model_of(engines[1])
    assert engines[1].servers.account.rounds == [2] * len(SIZES)


def test_groups_that_are_too_small_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match="expected at least 3 clients of a seed group in a round with secure_sum"):
        federation(config_of(*MASKED, "seed_groups=2"), grid_of({}))
