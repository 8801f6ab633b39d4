"""Rows of the grid: means over seeds, and a defence that does nothing is said to be none."""

import pytest

from heron.audit import Case, Outcome, rows_of


def case(label: str, seed: int, leak: float, **more: float) -> Case:
    return Case(
        label, seed, 0.9, {"decoder": Outcome({"decoder_ssim": leak, "mean_ssim": 0.6} | more, notes=("seen",))}
    )


def test_rows_have_means_errors_and_the_change_seed_by_seed() -> None:
    none = [case("none", seed, leak) for seed, leak in ((0, 0.90), (1, 0.80), (2, 0.70))]
    idle = [case("idle", seed, leak) for seed, leak in ((0, 0.91), (1, 0.79), (2, 0.70))]
    good = [case("good", seed, leak) for seed, leak in ((0, 0.80), (1, 0.70), (2, 0.60))]
    first, second, third = rows_of([*none, *idle, *good])
    assert first["figures"] == {"decoder_ssim": pytest.approx(0.8), "mean_ssim": pytest.approx(0.6)}
    assert first["errors"]["decoder_ssim"] == pytest.approx(0.1 / 3**0.5)
    assert (first["change"], first["protects"]) == (None, None)
    assert second["change"] == pytest.approx(0.0)
    assert second["protects"] is False
    assert third["change"] == pytest.approx(-0.1)
    assert third["change_error"] == pytest.approx(0.0, abs=1e-9)
    assert third["protects"] is True
    assert first["notes"] == ["seen"]


@pytest.mark.parametrize(("leak", "protects"), [(0.89, False), (0.95, False), (0.85, True)])
def test_one_seed_must_differ_by_more_than_seeds_do(leak: float, protects: bool) -> None:
    _, row = rows_of([case("none", 0, 0.9), case("other", 0, leak)])
    assert row["protects"] is protects
    assert row["change_error"] is None


def test_rows_without_a_common_leak_or_seed_are_not_compared() -> None:
    nothing = Case("nothing", 0, None, {"decoder": Outcome()})
    rows = rows_of([case("none", 0, 0.9), nothing, case("other seed", 1, 0.5)])
    assert [row["change"] for row in rows] == [None, None, None]
    assert rows[1]["figures"] == {}
    assert rows[1]["quality"] is None
