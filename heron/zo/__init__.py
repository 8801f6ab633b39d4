"""Zeroth-order optimisation: seeds, directions, probes, replayable updates.

The core works on NumPy arrays and imports no other library; on tensors it works by what the adapters of torch add.
Read in this order: `stream`, `kernel`, `numpy_kernel`, `kernels`, `flat`, `probes`, `steps`, `rules`; then the
adapters `flat_parameters`, `buffers`, `forward_mode`, `optimizer` and its checks, `step_checks` and `resolution`;
`uniform` is for stochastic rounding.
"""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.seeds import derive_seed as derive_seed
    from heron.zo.buffers import preserved_buffers as preserved_buffers
    from heron.zo.flat import FlatArrays as FlatArrays
    from heron.zo.flat import LossFunction as LossFunction
    from heron.zo.flat_parameters import FlatParameters as FlatParameters
    from heron.zo.forward_mode import exact_projected_gradients as exact_projected_gradients
    from heron.zo.kernels import KERNELS as KERNELS
    from heron.zo.kernels import KernelName as KernelName
    from heron.zo.optimizer import ZerothOrder as ZerothOrder
    from heron.zo.probes import SCHEMES as SCHEMES
    from heron.zo.probes import Estimator as Estimator
    from heron.zo.probes import Scheme as Scheme
    from heron.zo.rules import RULES as RULES
    from heron.zo.rules import SGD as SGD
    from heron.zo.rules import Adam as Adam
    from heron.zo.rules import Momentum as Momentum
    from heron.zo.steps import RuleState as RuleState
    from heron.zo.steps import StepRecord as StepRecord
    from heron.zo.steps import UpdateRule as UpdateRule
    from heron.zo.steps import replay_ as replay_
    from heron.zo.stream import DISTRIBUTIONS as DISTRIBUTIONS
    from heron.zo.stream import Distribution as Distribution
    from heron.zo.stream import direction as direction
    from heron.zo.uniform import uniform_16 as uniform_16
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "derive_seed": "heron.seeds",
            "preserved_buffers": "heron.zo.buffers",
            "FlatArrays": "heron.zo.flat",
            "LossFunction": "heron.zo.flat",
            "FlatParameters": "heron.zo.flat_parameters",
            "exact_projected_gradients": "heron.zo.forward_mode",
            "KERNELS": "heron.zo.kernels",
            "KernelName": "heron.zo.kernels",
            "ZerothOrder": "heron.zo.optimizer",
            "SCHEMES": "heron.zo.probes",
            "Estimator": "heron.zo.probes",
            "Scheme": "heron.zo.probes",
            "RULES": "heron.zo.rules",
            "SGD": "heron.zo.rules",
            "Adam": "heron.zo.rules",
            "Momentum": "heron.zo.rules",
            "RuleState": "heron.zo.steps",
            "StepRecord": "heron.zo.steps",
            "UpdateRule": "heron.zo.steps",
            "replay_": "heron.zo.steps",
            "DISTRIBUTIONS": "heron.zo.stream",
            "Distribution": "heron.zo.stream",
            "direction": "heron.zo.stream",
            "uniform_16": "heron.zo.uniform",
        },
    )
