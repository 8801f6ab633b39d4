"""The server app: a run with its directory, trained by the Flower engine."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heron.data import Splits
from heron.engines.servers import Servers
from heron.errors import HeronError
from heron.flower.engine import FlowerFederation
from heron.flower.log import say
from heron.flower.settings import DeploymentSettings
from heron.runs.run_directory import Metrics, RunDirectory
from heron.runs.run_loop import Run

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp

_SHOWN = ("test_", "train_loss", "bounded", "faults")  # prefixes of the metrics that are logged


@dataclass(frozen=True)
class ServerPlan:
    """Parts and settings of the run of a server app.

    Attributes:
        servers: the servers' side.
        splits: data that judges the model.
        fingerprint: identifies the configuration.
        rounds: number of rounds, T.
        evaluation_period: number of rounds between two evaluations.
        directory: the run directory, with its configuration written.
    """

    servers: Servers
    splits: Splits
    fingerprint: str
    rounds: int
    evaluation_period: int
    directory: Path


PlanBuilder = Callable[[Mapping[str, Any]], AbstractContextManager[ServerPlan]]
"""Function that makes the plan from the configuration that Flower was given, and keeps others out until its end."""


def make_server_app(build: PlanBuilder) -> "ServerApp":
    """Make a server app that trains one run and ends.

    Args:
        build: function that makes the plan.
    """
    from flwr.serverapp import ServerApp

    app = ServerApp()

    @app.main()
    def main(grid: "Grid", context: "Context") -> None:
        try:
            settings = DeploymentSettings.read(context.run_config)
            with build(context.run_config) as plan:
                train(_run_of(plan, settings, grid, context.run_id), context.run_id)
        except HeronError as error:  # log one line before Flower's traceback
            say("run failed", level=logging.ERROR, run=context.run_id, reason=error)
            raise

    return app


def _run_of(plan: ServerPlan, settings: DeploymentSettings, grid: "Grid", run_id: int) -> Run[FlowerFederation]:
    return Run(
        FlowerFederation(plan.servers, grid, run_id, settings),
        plan.splits,
        rounds=plan.rounds,
        directory=RunDirectory(plan.directory),
        fingerprint=plan.fingerprint,
        evaluation_period=plan.evaluation_period,
    )


def train(run: Run[FlowerFederation], run_id: int) -> None:
    """Run the remaining rounds, and log their progress.

    Args:
        run: the run; it has a directory.
        run_id: Flower's number of the run.
    """
    assert run.directory is not None  # a deployment always has one
    finished = run.restore()
    say("run begins", run=run_id, out=run.directory.path, rounds=run.rounds, finished=finished)
    started = time.monotonic()

    def observe(row: Metrics) -> None:
        shown = {key: row[key] for key in row if key.startswith(_SHOWN)}
        num_done, num_left = row["round"] - finished, run.rounds - row["round"]
        remaining_s = round((time.monotonic() - started) / num_done * num_left)
        say(
            "round recorded",
            run=run_id,
            round=f"{row['round']}/{run.rounds}",
            remaining_s=remaining_s,
            seconds=row["elapsed_s"],
            clients=row["clients"],
            **shown,
        )

    run.train(observe)
    run.finish()
    say("run is over", run=run_id, out=run.directory.path)
