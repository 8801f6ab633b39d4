"""The files of a run: configuration, metrics, checkpoint, summary. Each is complete or absent at any instant."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heron.errors import CheckpointError
from heron.files import write_atomically

Metrics = dict[str, Any]
"""A row of metrics: values by name, as JSON has them."""


class RunDirectory:
    """Paths and files of one run.

    Args:
        path: the folder; created with the first file.

    Attributes:
        config: the complete configuration, TOML.
        metrics: a row of JSON per round.
        summary: final metrics and traffic; its presence means that the run is complete.
        checkpoint: state after the latest round.
        clients: folder of the states that clients keep.
        cost: cost of a client step.
        events: folder of TensorBoard events.
        model: weights of the joined model, if they were asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.summary = path / "summary.json"
        self.checkpoint = path / "checkpoint" / "state.safetensors"
        self.clients = path / "checkpoint" / "clients"
        self.cost = path / "cost.json"
        self.events = path / "tensorboard"
        self.model = path / "model.safetensors"

    def read_metrics(self) -> list[Metrics]:
        """Read the complete rows, oldest first; a row truncated by a crash ends the list.

        Raises:
            CheckpointError: if the file cannot be read.
        """
        rows: list[Metrics] = []
        try:
            lines = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"cannot read {self.metrics}: {error}") from error
        for line in lines:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break
            rows.append(row)
        return rows

    def cut_metrics(self, num_rounds: int) -> list[Metrics]:
        """Keep the rows of the first `num_rounds` rounds, drop the rest; returns the rows kept.

        Raises:
            CheckpointError: if rows that belong to the checkpoint are missing.
        """
        rows = self.read_metrics()[:num_rounds]
        if len(rows) < num_rounds:
            raise CheckpointError(
                f"{self.metrics}: expected the {num_rounds} rounds of its checkpoint, found {len(rows)} before a line "
                f"that is missing or damaged; restore line {len(rows) + 1} or start over"
            )
        write_atomically(self.metrics, "".join(_line(row) for row in rows).encode())
        return rows

    def append_metrics(self, row: Metrics) -> None:
        """Add one row.

        Raises:
            CheckpointError: if the file cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self.metrics.open("a", encoding="utf-8", newline="\n") as file:
                file.write(_line(row))
        except OSError as error:
            raise CheckpointError(f"cannot write {self.metrics}: {error.strerror}") from error

    def num_recorded_rounds(self) -> int:
        """Number of rows written so far, without reading them; for watching a run of another process."""
        return self.metrics.read_bytes().count(b"\n") if self.metrics.exists() else 0

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`; its presence means that the run is complete."""
        write_json(self.summary, summary)


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write a JSON file atomically, readable by people.

    Args:
        path: the file.
        value: what `json` can write.
    """
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        CheckpointError: if it is absent or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


def _line(row: Metrics) -> str:
    return json.dumps(row) + "\n"
