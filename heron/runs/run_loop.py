"""Loop over rounds: train, evaluate, record, checkpoint; resumable at any instant."""

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from heron.data import Splits
from heron.engines.round_result import RoundResult
from heron.engines.servers import Servers
from heron.errors import CheckpointError
from heron.files import write_atomically
from heron.runs.checkpoint import load_checkpoint, save_checkpoint
from heron.runs.evaluation import evaluate
from heron.runs.measures import Measure
from heron.runs.model_file import model_bytes
from heron.runs.origin import check_origin
from heron.runs.run_directory import Metrics, RunDirectory

Observer = Callable[[Metrics], None]
"""A function that is called with each round's metrics."""


class Engine(Protocol):
    """Engine that trains a federation: the servers, and the clients, which each engine reaches in its own way."""

    @property
    def servers(self) -> Servers:
        """The servers' side."""
        ...

    def run_round(self) -> RoundResult:
        """Run the next round.

        Returns:
            Outcome of the round.
        """
        ...

    def keep_states_in(self, folder: Path, run: str = "") -> None:
        """Set the folder for client state that must outlive the process, as far as this process holds any.

        Args:
            folder: the folder.
            run: text by which this run is recognised, whatever number of rounds it has.
        """
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """State that the next round depends on, for a checkpoint; files that it names are already on the disk."""
        ...

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a result of `state`.

        Args:
            tensors: tensors of the result.
            facts: its other values.
        """
        ...

    def checkpointed(self) -> None:
        """Take note that the checkpoint with the present state has been written."""
        ...


EngineT = TypeVar("EngineT", bound=Engine)


class Run(Generic[EngineT]):
    """One run: an engine, the data that judges it and, if results are kept, a directory.

    Args:
        federation: the engine with its federation.
        splits: validation and test data.
        rounds: number of rounds, T.
        directory: directory for metrics and checkpoints; None keeps nothing.
        fingerprint: identifies the configuration; a checkpoint with another one is refused.
        evaluation_period: number of rounds between two evaluations; the last round is always evaluated.
        measures: further measures of an evaluation, by name.
        origin: what a run without a configuration is made of, as `origin_of` describes it; a checkpoint of another one
            is refused by name.

    Attributes:
        metrics: rows of the finished rounds, oldest first.
    """

    def __init__(
        self,
        federation: EngineT,
        splits: Splits,
        *,
        rounds: int,
        directory: RunDirectory | None = None,
        fingerprint: str = "",
        evaluation_period: int = 1,
        measures: Mapping[str, Measure] | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.federation = federation
        self.splits = splits
        self.rounds = rounds
        self.directory = directory
        self.metrics: list[Metrics] = []
        self._fingerprint = fingerprint
        self._evaluation_period = evaluation_period
        self._measures = measures
        self._origin = dict(origin or {})
        if directory is not None:
            identity = json.dumps([fingerprint, self._origin], sort_keys=True)
            federation.keep_states_in(directory.checkpoint.parent, identity)

    def restore(self) -> int:
        """Continue from the directory's checkpoint, if there is one; returns the number of finished rounds.

        Metrics are truncated to the checkpoint. A run killed before its first checkpoint starts again.

        Raises:
            CheckpointError: if the checkpoint is damaged or belongs to another configuration.
        """
        if self.directory is None:
            return 0
        if self.directory.checkpoint.exists():
            tensors, facts = load_checkpoint(self.directory.checkpoint)
            check_origin(self.directory.path, facts.get("origin", {}), self._origin)
            if facts.get("fingerprint") != self._fingerprint:
                raise CheckpointError(
                    f"{self.directory.checkpoint} was written by another configuration than "
                    f"{self.directory.config}; start a new run"
                )
            self.federation.load_state(tensors, facts)
        finished = self.federation.servers.next_round
        self.metrics = self.directory.cut_metrics(finished)
        return finished

    def train(self, observe: Observer = lambda _: None) -> list[Metrics]:
        """Run the remaining rounds.

        Args:
            observe: called with each round's metrics, after the checkpoint.

        Returns:
            One row per round, including those of an earlier session.
        """
        if self.directory is not None and self.federation.servers.next_round < self.rounds:
            self.directory.summary.unlink(missing_ok=True)  # of a run that was to end here
        earlier_s = float(self.metrics[-1]["elapsed_s"]) if self.metrics else 0.0
        started = time.perf_counter()
        while self.federation.servers.next_round < self.rounds:
            result = self.federation.run_round()
            row = self._row(result, earlier_s + time.perf_counter() - started)
            self._record(row)
            observe(row)
        if self.metrics and self._num_without_update() == len(self.metrics):
            warnings.warn("no round had an update: the model is as it began; see `clients` of each row", stacklevel=2)
        return self.metrics

    def summary(self) -> dict[str, Any]:
        """Final metrics and traffic by kind."""
        servers = self.federation.servers
        ledger = servers.ledger
        final = self.metrics[-1] if self.metrics else {}
        exact = servers.settings.client.exact
        return {
            **final,
            **({"client_exact": exact} if servers.algorithm.has_boundary else {}),
            **({"rounds_without_update": without} if (without := self._num_without_update()) else {}),
            **({} if servers.account is None else {"privacy": servers.account.statement()}),
            **({"exposure": servers.exposure} if servers.exposure else {}),
            "uplink_bytes_by_kind": ledger.by_kind("uplink"),
            "downlink_bytes_by_kind": ledger.by_kind("downlink"),
        }

    def finish(self) -> None:
        """Write `summary.json`, whose presence means that the run is complete."""
        assert self.directory is not None  # only callers with a directory call this
        self.directory.write_summary(self.summary())

    def save_model(self) -> None:
        """Write the joined model {theta_c, theta_s} to the run directory as safetensors."""
        assert self.directory is not None  # only callers with a directory call this
        write_atomically(self.directory.model, model_bytes(self.federation.servers.load_global_model()))

    def _num_without_update(self) -> int:
        """Number of rounds in which no client replied, or none of a sum under masks could be read."""
        return sum(not row["clients"] or "secure_sum" in row.get("faults", {}) for row in self.metrics)

    def _record(self, row: Metrics) -> None:
        self.metrics.append(row)
        if self.directory is None:
            return
        self.directory.append_metrics(row)
        tensors, facts = self.federation.state()
        identity = {"fingerprint": self._fingerprint} | ({"origin": self._origin} if self._origin else {})
        save_checkpoint(self.directory.checkpoint, tensors, facts | identity)
        self.federation.checkpointed()

    def _row(self, result: RoundResult, elapsed_s: float) -> Metrics:
        servers = self.federation.servers
        number = result.round_index + 1
        server_loss, client_loss = result.server_loss, result.client_loss
        row: Metrics = {
            "round": number,
            "algorithm": servers.algorithm.name,
            "train_loss": _number(client_loss if math.isnan(server_loss) else server_loss),
            "client_loss": _number(client_loss),
            "uplink_bytes": servers.ledger.uplink_bytes,
            "downlink_bytes": servers.ledger.downlink_bytes,
            "clients": result.num_replies,
            "client_examples": servers.client_examples,
            "elapsed_s": round(elapsed_s, 3),
        }
        if result.simulated_s is not None:
            row["simulated_s"] = result.simulated_s
        if result.num_bounded:
            row["bounded"] = result.num_bounded
        if result.faults:
            row["faults"] = dict(result.faults)
        if servers.account is not None:
            row |= servers.account.figures()
        if number % self._evaluation_period == 0 or number == self.rounds:
            row |= self._evaluate()
        return row

    def _evaluate(self) -> Metrics:
        servers = self.federation.servers
        device = torch.device(servers.settings.device)
        model = self.federation.servers.load_global_model()
        row: Metrics = {}
        for name, dataset in (("validation", self.splits.validation), ("test", self.splits.test)):
            result = evaluate(model, dataset, servers.criterion, device=device, measures=self._measures)
            if result is not None:
                row |= result.metrics(name)
        return row


def _number(value: float) -> float | None:
    """A number for JSON, which has no NaN: None in its place."""
    return None if math.isnan(value) else value
