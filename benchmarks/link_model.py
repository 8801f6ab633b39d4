"""Simulated time and bytes to a target accuracy under three links: do settings that save bytes save time?

    python benchmarks/link_model.py [--quick]

Recipe `digits`, five clients that all have the same device and link (LINKS: round figures of the kind of line named,
not measurements), a Main Server of 1,000 GFLOP/s, clients of 1 GFLOP/s; the last link has clients of 0.05 GFLOP/s,
whose step on this small network takes as long as a larger network's. Bytes and accuracies do not depend on the link, so
each algorithm and seed is trained once; every figure is the mean over SEEDS at the first round that reaches TARGET on
the test split. Traffic is uplink and downlink of all clients. `--quick` takes one seed and saves nothing.

Saves benchmarks/results/link_model.json. No result depends on the speed of this machine.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

from hardware import describe

from heron.analysis import ACCURACY, costs_to_target
from heron.config import build_run, recipe_config
from heron.costs.round_time import Device, Timeline, round_seconds

RESULT = Path(__file__).parent / "results" / "link_model.json"
ALGORITHMS = ("heron", "cse_fsl", "sflv2", "frozen", "fedavg")
SEEDS = (0, 1)
TARGET = 0.85
SERVER_FLOPS_PER_S = 1e12


def device(uplink_mbps: float, downlink_mbps: float, latency_ms: float, client_gflops: float) -> Device:
    """A device in the units of the configuration."""
    return Device(uplink_mbps * 1e6 / 8, downlink_mbps * 1e6 / 8, latency_ms / 1e3, client_gflops * 1e9)


LINKS = {
    "4G phone": device(10, 40, 25, 1),
    "office DSL": device(1, 16, 20, 1),
    "data centre": device(10_000, 10_000, 0.1, 1),
    "4G, slow client": device(10, 40, 25, 0.05),
}


def train(algorithm: str, seed: int) -> tuple[list[dict[str, Any]], list[Sequence[Timeline]]]:
    """Metrics and events of every round; they depend on no link, so one training serves all."""
    rounds: list[Sequence[Timeline]] = []

    def keep(timelines: Sequence[Timeline], _: float) -> float:
        rounds.append(timelines)
        return 0.0

    # Any speed above 0 has the operations counted.
    config = recipe_config("digits", algorithm, [f"seed={seed}", "link.client_gflops=1", "link.server_gflops=1"])
    with mock.patch("heron.costs.trace.round_seconds", keep):
        return build_run(config, None).train(), rounds


def on_link(
    metrics: Sequence[dict[str, Any]], rounds: Sequence[Sequence[Timeline]], link: Device
) -> list[dict[str, Any]]:
    """The metrics with the simulated time of a link."""
    simulated_s, rows = 0.0, []
    for row, timelines in zip(metrics, rounds, strict=True):
        simulated_s += round_seconds([Timeline(link, one.events) for one in timelines], SERVER_FLOPS_PER_S)
        rows.append(row | {"simulated_s": simulated_s})
    return rows


def under(
    name: str, algorithm: str, trained: Sequence[tuple[list[dict[str, Any]], list[Sequence[Timeline]]]]
) -> dict[str, Any]:
    """Time and traffic of an algorithm under a link."""
    runs = [on_link(metrics, rounds, LINKS[name]) for metrics, rounds in trained]
    return {
        "link": name,
        "algorithm": algorithm,
        "test_accuracies": [run[-1]["test_accuracy"] for run in runs],
        "simulated_s_per_round": sum(run[-1]["simulated_s"] / len(run) for run in runs) / len(runs),
        **costs_to_target(runs, TARGET, ACCURACY),
    }


def shown(one: dict[str, Any]) -> str:
    """A line of the table."""
    reached = one["round_to_target"] is not None
    costs = "-" * 9
    if reached:
        traffic = one["uplink_bytes_to_target"] + one["downlink_bytes_to_target"]
        costs = f"{one['round_to_target']:5.1f} {traffic / 2**20:9.2f} {one['simulated_s_to_target']:10.2f}"
    return f"{one['link']:16} {one['algorithm']:8} {1000 * one['simulated_s_per_round']:9.1f}   {costs}"


def main() -> None:
    """Train, print, save."""
    quick = "--quick" in sys.argv[1:]
    seeds = SEEDS[:1] if quick else SEEDS
    trained = {name: [train(name, seed) for seed in seeds] for name in ALGORITHMS}
    print(f"{'link':16} {'':8} {'ms/round':>9}   rounds   traffic MiB   simulated s   to {TARGET:.0%}")
    rows = [under(link, algorithm, runs) for link in LINKS for algorithm, runs in trained.items()]
    for one in rows:
        print(shown(one))
    if not quick:
        links = {name: asdict(link) for name, link in LINKS.items()}
        result = {"hardware": describe(), "target": TARGET, "seeds": seeds, "links": links, "rows": rows}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
