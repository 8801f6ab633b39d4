"""Kills of a deployment's processes at random instants, each once a certain round has been recorded."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from flower_processes import Deployment

APP, NODE, BETWEEN = "ClientApp", "SuperNode", "SuperNode between two messages"
SERVERS = "SuperLink and ServerApp"
_POLL_S = 0.2


class Saboteur(threading.Thread):
    """Kills one thing after another, each once a certain round has been recorded.

    Args:
        parties: whose processes.
        out: the run directory.
        rounds: after which to kill, ascending.
        kinds: what is killed, in an order of the generator's, again and again.
        latest_s: longest wait after a round has been recorded.
        generator: chooses when, whose and in which order.

    Attributes:
        events: what was done.
        recorded: lines of the metrics at each kill.
        has_covered: returns whether all clients have covered their values in a round, from 0.
    """

    def __init__(
        self,
        parties: Deployment,
        out: Path,
        rounds: list[int],
        kinds: Sequence[str],
        latest_s: float,
        generator: random.Random,
    ) -> None:
        super().__init__(daemon=True)
        self.events: list[dict[str, Any]] = []
        self.recorded: list[list[str]] = []
        self.has_covered: Callable[[int], bool] = lambda _: False
        self._parties, self._out, self._rounds, self._generator = parties, out, rounds, generator
        self._kinds = [kinds[number % len(kinds)] for number in range(len(rounds))]
        self._latest_s = latest_s
        self._beginning = time.monotonic()

    def run(self) -> None:
        """Until all is done."""
        self._generator.shuffle(self._kinds)
        for number, kind in zip(self._rounds, self._kinds, strict=True):
            while len(lines_of(self._out)) < number:
                time.sleep(_POLL_S)
            time.sleep(self._generator.uniform(0, self._latest_s))
            self.recorded.append(lines_of(self._out))
            killed = self._kill(kind)
            event = {"killed": killed, "after_round": number, "at_s": round(time.monotonic() - self._beginning, 1)}
            self.events.append(event)
            print(f"{event['at_s']:7.1f} s, {number} rounds recorded: SIGKILL of {killed}", flush=True)

    def _kill(self, kind: str) -> str:
        client_id = self._generator.randrange(self._parties.num_clients)
        if kind == NODE:
            self._parties.kill(f"supernode{client_id}")
        elif kind == BETWEEN:
            self._kill_between(f"supernode{client_id}")
        elif kind == APP:
            self._kill_app(f"supernode{client_id}")
        else:
            apps = self._parties.descendants("superlink")
            self._parties.kill("superlink")
            for process in apps:
                end(process)
            return kind
        return f"{kind} {client_id}"

    def _kill_between(self, node: str) -> None:
        """Kill this node when it has started an app for the question about masks, after all have covered values."""
        while not self.has_covered(len(lines_of(self._out))):
            time.sleep(_POLL_S)
        earlier = set(self._apps(node))
        while not set(self._apps(node)) - earlier:
            time.sleep(_POLL_S)
        self._parties.kill(node)

    def _apps(self, node: str) -> list[psutil.Process]:
        return [process for process in self._parties.descendants(node) if is_client_app(process)]

    def _kill_app(self, node: str) -> None:
        """The next app that this node starts, if it has none now."""
        while True:
            apps = self._apps(node)
            if apps:
                end(apps[0])
                return
            time.sleep(_POLL_S)


def is_client_app(process: psutil.Process) -> bool:
    """Return whether a process is a working app, not the process that starts them."""
    try:
        return any("flwr-clientapp" in word for word in process.cmdline())
    except psutil.Error:
        return False


def end(process: psutil.Process) -> None:
    """SIGKILL, unless it has ended."""
    try:
        process.kill()
    except psutil.Error:
        return


def lines_of(out: Path) -> list[str]:
    """Rounds recorded so far, a line each."""
    path = out / "metrics.jsonl"
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []
