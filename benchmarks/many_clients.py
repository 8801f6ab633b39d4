"""A thousand unreliable clients on digits: a whole run, the memory of an idle client, the engine's own cost.

    python benchmarks/many_clients.py

1. `digits-published` with 1,000 clients, Dirichlet alpha 0.05, 20 per round, weighted by examples, 10% dropouts, 20%
   stragglers.
2. Memory held per idle client: live bytes after every client has taken part, at 1,000 clients less at 100.
3. Time per round at 1,000 clients over that at 100, with 20 per round in both, taken in turns.
4. The engine's own wall and CPU time per client and round: all but local steps, server steps and fetching data; in
   memory, and with a run directory, where every round ends with a checkpoint that is flushed to the disk.
"""

import gc
import itertools
import json
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hardware import describe

from heron.config import build_run, recipe_config
from heron.data import fetch
from heron.engines.in_process import Federation
from heron.runs.run_loop import Run

RESULT = Path(__file__).parent / "results" / "many_clients.json"
PER_ROUND = 20


def digits(total: int, *changes: str, per_round: int = PER_ROUND, directory: Path | None = None) -> Run[Federation]:
    """A run of HERON-SFL as published on digits, partitioned among `total` clients."""
    assignments = [f"clients.total={total}", f"clients.per_round={per_round}", *changes]
    return build_run(recipe_config("digits-published", "heron", assignments), directory)


def unreliable() -> dict[str, Any]:
    """The whole run of part 1."""
    settings = ["clients.partition=dirichlet", "clients.alpha=0.05", "clients.weighting=examples"]
    settings += ["clients.dropout=0.1", "clients.stragglers=0.2", "rounds=200", "evaluation_period=20"]
    started = time.perf_counter()
    run = digits(1000, *settings)
    built = time.perf_counter()
    rows = run.train()
    sizes = sorted(len(share) for share in run.federation.partition)
    return {
        "settings": settings,
        "rounds": len(rows),
        "replies": sum(row["clients"] for row in rows),
        "asked": PER_ROUND * len(rows),
        "client_sizes": [sizes[0], sizes[len(sizes) // 2], sizes[-1]],
        "test_accuracy": rows[-1]["test_accuracy"],
        "build_s": built - started,
        "train_s": time.perf_counter() - built,
    }


def held_bytes(total: int) -> int:
    """Live bytes of a federation in which every client has taken part, without the sample indices."""
    gc.collect()
    tensors_before = _tensor_bytes()
    tracemalloc.start()
    federation = digits(total, per_round=total).federation
    federation.run_round()
    gc.collect()
    python_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    indices = sum(share.nbytes for share in federation.partition)
    return python_bytes + _tensor_bytes() - tensors_before - indices


def round_time_ratio(rounds: int = 40) -> float:
    """Median time of a round of 1,000 clients over that of 100."""
    federations = {total: digits(total).federation for total in (1000, 100)}
    times: dict[int, list[float]] = {total: [] for total in federations}
    for _ in range(rounds):
        for total, federation in federations.items():
            started = time.perf_counter()
            federation.run_round()
            times[total].append(time.perf_counter() - started)
    return statistics.median(times[1000]) / statistics.median(times[100])


def own_milliseconds(now: Callable[[], float], directory: Path | None = None, rounds: int = 40) -> float:
    """Median over rounds of the time per client that is spent outside local steps, server steps and data.

    Args:
        now: `time.perf_counter`, or `time.process_time` to leave out waiting for a busy machine.
        directory: where the run is kept; None keeps nothing.
        rounds: how many.
    """
    run = digits(1000, f"rounds={rounds}", f"evaluation_period={rounds}", directory=directory)
    clock = _Clock(now)
    ends, inside = [now()], [0.0]

    def observe(_: object) -> None:
        ends.append(now())
        inside.append(clock.inside)

    with clock.watching(run.federation):
        run.train(observe)
    shares = [
        (end - start - (after - before)) / PER_ROUND
        for (start, end), (before, after) in zip(itertools.pairwise(ends), itertools.pairwise(inside), strict=True)
    ]
    return 1000 * statistics.median(shares)


class _Clock:
    """Adds up the time spent in the model and the data."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.inside = 0.0

    @contextmanager
    def watching(self, federation: Federation) -> Iterator[None]:
        """Wraps local steps, server steps and fetches."""
        learner, server = federation.learner, federation.main_server
        step, train = learner.step, server.train

        def timed_step(*arguments: Any) -> Any:
            started = self.now()
            generator = step(*arguments)
            value = next(generator)
            self.inside += self.now() - started
            answer = yield value
            started = self.now()
            try:
                generator.send(answer)
            except StopIteration as stop:
                self.inside += self.now() - started
                return stop.value

        def timed(function: Any) -> Any:
            def call(*arguments: Any) -> Any:
                started = self.now()
                value = function(*arguments)
                self.inside += self.now() - started
                return value

            return call

        with (
            mock.patch.object(learner, "step", timed_step),
            mock.patch.object(server, "train", timed(train)),
            mock.patch("heron.client.torch_runtime.examples.fetch", timed(fetch)),
        ):
            yield


def _tensor_bytes() -> int:
    storages = {}
    for item in gc.get_objects():
        if type(item) in {torch.Tensor, torch.nn.Parameter} and item.layout == torch.strided:
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def main() -> None:
    """Measure, print, save."""
    result: dict[str, Any] = {"hardware": describe(), "unreliable": unreliable()}
    print(json.dumps(result["unreliable"], indent=2))
    held_bytes(1000)  # imports and the interpreter's own tables grow once
    result["idle_client_bytes"] = (held_bytes(1000) - held_bytes(100)) / 900
    print(f"an idle client holds {result['idle_client_bytes']:.0f} bytes beside its indices (asked for: 2048)")
    result["round_time_ratio_1000_to_100_clients"] = round_time_ratio()
    print(f"a round of 1,000 clients takes {result['round_time_ratio_1000_to_100_clients']:.2f} times one of 100")
    clocks = {"wall": time.perf_counter, "cpu": time.process_time}
    own = {name: own_milliseconds(now) for name, now in clocks.items()}
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: own_milliseconds(now, Path(folder) / name) for name, now in clocks.items()}
    result["own_ms_per_client_and_round"] = {"in_memory": own, "with_run_directory": kept}
    result["load_average"] = os.getloadavg()[0]
    print("the engine's own ms per client and round (asked for: 5):", result["own_ms_per_client_and_round"])
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
