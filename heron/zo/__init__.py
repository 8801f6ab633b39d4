"""Zeroth-order optimisation for any torch module: seeds, directions, probes, replayable updates.

Needs torch only; knows nothing of federation, models or files. Read in this order: `stream`,
`kernel`, `torch_kernel`, `flat`, `forward_mode`, `probes`, `rules`, `optimizer`; `uniform` is for stochastic rounding.
"""

from heron.seeds import derive_seed
from heron.zo.buffers import preserved_buffers
from heron.zo.flat import FlatParameters, LossFunction
from heron.zo.forward_mode import exact_projected_gradients
from heron.zo.kernels import KERNELS, KernelName
from heron.zo.optimizer import ZerothOrder
from heron.zo.probes import SCHEMES, Estimator, Scheme
from heron.zo.rules import RULES, SGD, Adam, Momentum
from heron.zo.steps import RuleState, StepRecord, UpdateRule, replay_
from heron.zo.stream import DISTRIBUTIONS, Distribution, direction
from heron.zo.uniform import uniform_16

__all__ = [
    "DISTRIBUTIONS",
    "KERNELS",
    "RULES",
    "SCHEMES",
    "SGD",
    "Adam",
    "Distribution",
    "Estimator",
    "FlatParameters",
    "KernelName",
    "LossFunction",
    "Momentum",
    "RuleState",
    "Scheme",
    "StepRecord",
    "UpdateRule",
    "ZerothOrder",
    "derive_seed",
    "direction",
    "exact_projected_gradients",
    "preserved_buffers",
    "replay_",
    "uniform_16",
]
