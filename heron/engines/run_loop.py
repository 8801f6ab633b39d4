"""Round after round: train, evaluate, record, checkpoint; resumable at any instant."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save

from heron.data import Splits
from heron.engines.checkpoint import load_checkpoint, save_checkpoint, write_atomically
from heron.engines.client_states import ClientStates
from heron.engines.evaluation import evaluate
from heron.engines.federation import Federation
from heron.engines.run_directory import Metrics, RunDirectory
from heron.engines.settings import RoundResult
from heron.errors import CheckpointError

Observer = Callable[[Metrics], None]


class Run:
    """A federation, the data that judges it and, where it is to last, a directory.

    Args:
        federation: what trains.
        splits: validation and test data.
        rounds: rounds to run, T.
        directory: where metrics and checkpoints go; None keeps nothing.
        fingerprint: identifies the configuration; a checkpoint with another one is refused.
        evaluation_period: rounds from one evaluation to the next; the last round is always evaluated.
    """

    def __init__(
        self,
        federation: Federation,
        splits: Splits,
        *,
        rounds: int,
        directory: RunDirectory | None = None,
        fingerprint: str = "",
        evaluation_period: int = 1,
    ) -> None:
        self.federation = federation
        self.splits = splits
        self.rounds = rounds
        self.directory = directory
        self.metrics: list[Metrics] = []
        self._fingerprint = fingerprint
        self._evaluation_period = evaluation_period
        if directory is not None:
            federation.states = ClientStates(directory.clients)
            federation.held = ClientStates(directory.held)

    def restore(self) -> int:
        """Continue from the directory's checkpoint, if there is one; returns the number of finished rounds.

        Metrics are cut back to the checkpoint. A run killed before its first checkpoint starts over.

        Raises:
            CheckpointError: if the checkpoint is damaged or belongs to another configuration.
        """
        if self.directory is None:
            return 0
        if self.directory.checkpoint.exists():
            tensors, facts = load_checkpoint(self.directory.checkpoint)
            if facts.get("fingerprint") != self._fingerprint:
                raise CheckpointError(
                    f"{self.directory.checkpoint} was written by another configuration than "
                    f"{self.directory.config}; start a new run"
                )
            self.federation.load_state(tensors, facts)
        self.metrics = self.directory.cut_metrics(self.federation.next_round)
        return self.federation.next_round

    def train(self, observe: Observer = lambda _: None) -> list[Metrics]:
        """Run the rounds that are left.

        Args:
            observe: called with each round's metrics, after the checkpoint.

        Returns:
            One row per round, those of an earlier session included.
        """
        earlier_s = float(self.metrics[-1]["elapsed_s"]) if self.metrics else 0.0
        started = time.perf_counter()
        while self.federation.next_round < self.rounds:
            result = self.federation.run_round()
            row = self._row(result, earlier_s + time.perf_counter() - started)
            self._record(row)
            observe(row)
        return self.metrics

    def summary(self) -> dict[str, Any]:
        """Final metrics and traffic by kind."""
        ledger = self.federation.ledger
        final = self.metrics[-1] if self.metrics else {}
        exact = self.federation.settings.client.exact
        return {
            **final,
            **({"client_exact": exact} if self.federation.algorithm.has_boundary else {}),
            "uplink_bytes_by_kind": ledger.by_kind("uplink"),
            "downlink_bytes_by_kind": ledger.by_kind("downlink"),
        }

    def finish(self) -> None:
        """Write `summary.json`, which says that the run is complete."""
        assert self.directory is not None  # asked for by callers that have one
        self.directory.write_summary(self.summary())

    def save_model(self) -> None:
        """Write the joined model {theta_c, theta_s} to the run directory as safetensors."""
        assert self.directory is not None  # asked for by callers that have one
        joined = self.federation.load_global_model().joined_state_dict()
        content = save({name: tensor.cpu().contiguous().clone() for name, tensor in joined.items()})
        write_atomically(self.directory.model, content)

    def _record(self, row: Metrics) -> None:
        self.metrics.append(row)
        if self.directory is None:
            return
        self.directory.append_metrics(row)
        self.federation.states.sync()
        self.federation.held.sync()
        tensors, facts = self.federation.state()
        save_checkpoint(self.directory.checkpoint, tensors, facts | {"fingerprint": self._fingerprint})
        self.federation.states.prune()
        self.federation.held.prune()

    def _row(self, result: RoundResult, elapsed_s: float) -> Metrics:
        federation = self.federation
        number = result.round_index + 1
        server_loss, client_loss = result.server_loss, result.client_loss
        row: Metrics = {
            "round": number,
            "algorithm": federation.algorithm.name,
            "train_loss": _number(client_loss if math.isnan(server_loss) else server_loss),
            "client_loss": _number(client_loss),
            "uplink_bytes": federation.ledger.uplink_bytes,
            "downlink_bytes": federation.ledger.downlink_bytes,
            "clients": result.num_replies,
            "client_examples": federation.client_examples,
            "elapsed_s": round(elapsed_s, 3),
        }
        if federation.simulated_s is not None:
            row["simulated_s"] = federation.simulated_s
        if number % self._evaluation_period == 0 or number == self.rounds:
            row |= self._evaluate()
        return row

    def _evaluate(self) -> Metrics:
        device = torch.device(self.federation.settings.device)
        model = self.federation.load_global_model()
        row: Metrics = {}
        for name, dataset in (("validation", self.splits.validation), ("test", self.splits.test)):
            result = evaluate(model, dataset, self.federation.local.criterion, device=device)
            if result is not None:
                row |= result.metrics(name)
        return row


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
