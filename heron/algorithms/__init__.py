"""The algorithms, one file each, readable beside their papers, and the registry that names them."""

from heron.algorithms.algorithm import Algorithm, Control
from heron.algorithms.cse_fsl import CSE_FSL
from heron.algorithms.frozen import FROZEN
from heron.algorithms.fsl_sage import FSL_SAGE
from heron.algorithms.heron import HERON
from heron.algorithms.ho_sfl import HO_SFL
from heron.algorithms.hosl import HOSL
from heron.algorithms.local import LOCAL
from heron.algorithms.mu_splitfed import MU_SPLITFED
from heron.algorithms.sflv1 import SFLV1
from heron.algorithms.sflv2 import SFLV2
from heron.algorithms.whole_network.decomfl import DECOMFL
from heron.algorithms.whole_network.fedavg import FEDAVG
from heron.algorithms.whole_network.fedkseed import FEDKSEED
from heron.algorithms.whole_network.ho_fl import HO_FL

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        *(HERON, LOCAL, HO_SFL, HOSL, MU_SPLITFED, CSE_FSL, FSL_SAGE, SFLV1, SFLV2),
        *(FEDAVG, HO_FL, DECOMFL, FEDKSEED, FROZEN),
    )
}
"""Rows of the registry by name."""

CONTROLS: dict[Control, str] = {row.control: row.name for row in ALGORITHMS.values() if row.control is not None}
"""Names of the rows that others are compared with."""

OTHER_NAMES = {"splitlora": SFLV2.name}
"""Other names of an algorithm in the literature: SplitLoRA (Lin et al., arXiv 2407.00952) is SplitFed V2 with LoRA."""

__all__ = ["ALGORITHMS", "CONTROLS", "OTHER_NAMES", "Algorithm"]
