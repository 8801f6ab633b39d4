"""The algorithms, one file each, readable beside their papers, and the registry that names them."""

from heron.algorithms.base import (
    Algorithm,
    ClientLearner,
    ClientSettings,
    ClientState,
    OptimizerName,
    StepGenerator,
    StepKey,
    StepResult,
)
from heron.algorithms.cse_fsl import CSE_FSL
from heron.algorithms.decoupled import ClientData, LocalPlan, client_round, decoupled_round, finish
from heron.algorithms.frozen import FROZEN
from heron.algorithms.heron import HERON
from heron.algorithms.local import Criterion, LocalNetwork
from heron.algorithms.servers import FedServer, MainServer

ALGORITHMS: dict[str, Algorithm] = {algorithm.name: algorithm for algorithm in (HERON, CSE_FSL, FROZEN)}

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "ClientData",
    "ClientLearner",
    "ClientSettings",
    "ClientState",
    "Criterion",
    "FedServer",
    "LocalNetwork",
    "LocalPlan",
    "MainServer",
    "OptimizerName",
    "StepGenerator",
    "StepKey",
    "StepResult",
    "client_round",
    "decoupled_round",
    "finish",
]
