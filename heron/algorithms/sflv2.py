"""SplitFed V2: clients that learn from the gradient at the cut; one server model, trained client after client.

"SplitFed: When Federated Learning Meets Split Learning", Thapa, Chamikara, Camtepe, Sun, AAAI 2022 (arXiv 2004.12088).
"""

from heron.algorithms.algorithm import Algorithm, first_order
from heron.algorithms.coupled import coupled_round
from heron.client.first_order import SplitClient

SFLV2 = Algorithm(
    name="sflv2",
    summary="SplitFed V2: cut gradients come back every step, one server model trained sequentially",
    citation="Thapa, Chamikara, Camtepe, Sun, AAAI 2022, arXiv 2004.12088",
    orders=first_order,
    make_client=SplitClient,
    run_round=coupled_round,
    head=None,
    uploads="every_step",
    answers="cut_gradient",
    control="coupled",
)
