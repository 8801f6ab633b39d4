"""The algorithms, one file each, readable beside their papers, and the registry that names them."""

from heron.algorithms.aggregation import Aggregation, AggregationMethod
from heron.algorithms.base import (
    Algorithm,
    ClientLearner,
    ClientState,
    FedServerSetup,
    Perturbed,
    StepGenerator,
    StepKey,
    StepResult,
)
from heron.algorithms.client import BeforeStep, client_round, finish, unreplayed
from heron.algorithms.cse_fsl import CSE_FSL
from heron.algorithms.descent import OptimizerName
from heron.algorithms.fed_adam import FedAdam
from heron.algorithms.fed_server import FedServer, Weighting
from heron.algorithms.fed_servers import make_fed_server
from heron.algorithms.fedavg import FEDAVG
from heron.algorithms.frozen import FROZEN
from heron.algorithms.fsl_sage import FSL_SAGE
from heron.algorithms.heron import HERON
from heron.algorithms.ho_sfl import HO_SFL
from heron.algorithms.hosl import HOSL
from heron.algorithms.hyperparameters import ClientSettings, Update
from heron.algorithms.local import Criterion, LocalNetwork
from heron.algorithms.local_plan import BEGINNING, ClientData, LocalPlan, Progress
from heron.algorithms.main_server import MainServer
from heron.algorithms.opening import Opener, TensorStore
from heron.algorithms.server_setup import Alignment, ServerSetup
from heron.algorithms.sflv1 import SFLV1
from heron.algorithms.sflv2 import SFLV2
from heron.algorithms.update_codec import UpdateCodec
from heron.algorithms.walks import Replayer

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm for algorithm in (HERON, HO_SFL, HOSL, CSE_FSL, FSL_SAGE, SFLV1, SFLV2, FEDAVG, FROZEN)
}

OTHER_NAMES = {"splitlora": SFLV2.name}
"""What the literature also calls an algorithm: SplitLoRA (Lin et al., arXiv 2407.00952) is SplitFed V2 with LoRA."""

__all__ = [
    "ALGORITHMS",
    "BEGINNING",
    "OTHER_NAMES",
    "Aggregation",
    "AggregationMethod",
    "Algorithm",
    "Alignment",
    "BeforeStep",
    "ClientData",
    "ClientLearner",
    "ClientSettings",
    "ClientState",
    "Criterion",
    "FedAdam",
    "FedServer",
    "FedServerSetup",
    "LocalNetwork",
    "LocalPlan",
    "MainServer",
    "Opener",
    "OptimizerName",
    "Perturbed",
    "Progress",
    "Replayer",
    "ServerSetup",
    "StepGenerator",
    "StepKey",
    "StepResult",
    "TensorStore",
    "Update",
    "UpdateCodec",
    "Weighting",
    "client_round",
    "finish",
    "make_fed_server",
    "unreplayed",
]
