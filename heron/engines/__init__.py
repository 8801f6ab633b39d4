"""Engines that run the algorithms, and the loop around them: metrics, checkpoints, evaluation, costs."""

from heron.engines.attendance import Reliability
from heron.engines.checkpoint import load_checkpoint, save_checkpoint, write_atomically
from heron.engines.evaluation import Evaluation, evaluate
from heron.engines.federation import Federation
from heron.engines.profile import ClientCost, profile_client
from heron.engines.run_directory import Metrics, RunDirectory, read_json, write_json
from heron.engines.run_loop import Run
from heron.engines.settings import FederationSettings, RoundResult

__all__ = [
    "ClientCost",
    "Evaluation",
    "Federation",
    "FederationSettings",
    "Metrics",
    "Reliability",
    "RoundResult",
    "Run",
    "RunDirectory",
    "evaluate",
    "load_checkpoint",
    "profile_client",
    "read_json",
    "save_checkpoint",
    "write_atomically",
    "write_json",
]
