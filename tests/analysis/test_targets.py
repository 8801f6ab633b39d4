"""Costs of reaching a quality, on hand-made metrics."""

from heron.analysis import ACCURACY, PERPLEXITY, common_target, costs_to_target


def rows(*values: float | None, key: str = "test_accuracy", seconds: float = 1.5) -> list[dict]:
    """None is a round without an evaluation."""
    return [
        {"round": n, "uplink_bytes": 100 * n, "downlink_bytes": 10 * n, "simulated_s": seconds * n}
        | ({} if value is None else {key: value})
        for n, value in enumerate(values, start=1)
    ]


def test_the_target_is_the_best_that_every_run_reached() -> None:
    assert common_target([rows(0.1, 0.9, 0.3), rows(0.5, 0.7, 0.6)], ACCURACY) == 0.7
    worse = [rows(50.0, 20.0, 30.0, key="test_perplexity"), rows(40.0, 25.0, key="test_perplexity")]
    assert common_target(worse, PERPLEXITY) == 25
    assert common_target([rows(0.5), rows(None)], ACCURACY) is None
    assert common_target([], ACCURACY) is None


def test_costs_are_those_of_the_first_round_that_reaches_it() -> None:
    found = costs_to_target([rows(0.1, None, 0.7, 0.5, 0.9)], 0.7, ACCURACY)
    assert found == {
        "round_to_target": 3,
        "uplink_bytes_to_target": 300,
        "downlink_bytes_to_target": 30,
        "simulated_s_to_target": 4.5,
    }
    falling = [rows(50.0, 30.0, 20.0, key="test_perplexity")]
    assert costs_to_target(falling, 30.0, PERPLEXITY)["round_to_target"] == 2


def test_costs_are_means_over_seeds_that_all_reached_it() -> None:
    both = costs_to_target([rows(0.7), rows(0.1, 0.1, 0.8)], 0.7, ACCURACY)
    assert (both["round_to_target"], both["simulated_s_to_target"]) == (2, 3)
    one = costs_to_target([rows(0.7), rows(0.1, 0.1, 0.6)], 0.7, ACCURACY)
    assert set(one.values()) == {None}
    assert set(costs_to_target([rows(0.7)], None, ACCURACY).values()) == {None}


def test_a_value_that_rows_do_not_hold_is_unknown() -> None:
    plain = [{key: value for key, value in row.items() if key != "simulated_s"} for row in rows(0.7)]
    found = costs_to_target([plain], 0.7, ACCURACY)
    assert (found["uplink_bytes_to_target"], found["simulated_s_to_target"]) == (100, None)
