"""Engines that run the algorithms, and the loop around them: metrics, checkpoints, evaluation, costs."""

from heron.engines.attendance import Reliability
from heron.engines.checkpoint import load_checkpoint, save_checkpoint, write_atomically
from heron.engines.client_step import ExampleShape, StepCost
from heron.engines.evaluation import Evaluation, evaluate
from heron.engines.federation import Federation
from heron.engines.plan import fake_split, largest_exact, plan_step, possible_exact, too_small
from heron.engines.profile import ClientCost, profile_client, profile_step
from heron.engines.run_directory import Metrics, RunDirectory, read_json, write_json
from heron.engines.run_loop import Run
from heron.engines.settings import FederationSettings, RoundResult

__all__ = [
    "ClientCost",
    "Evaluation",
    "ExampleShape",
    "Federation",
    "FederationSettings",
    "Metrics",
    "Reliability",
    "RoundResult",
    "Run",
    "RunDirectory",
    "StepCost",
    "evaluate",
    "fake_split",
    "largest_exact",
    "load_checkpoint",
    "plan_step",
    "possible_exact",
    "profile_client",
    "profile_step",
    "read_json",
    "save_checkpoint",
    "too_small",
    "write_atomically",
    "write_json",
]
