"""SplitFed V1: as V2, but the Main Server trains one copy of its model for each client and averages them.

"SplitFed: When Federated Learning Meets Split Learning", Thapa, Chamikara, Camtepe, Sun, AAAI 2022 (arXiv 2004.12088).
The copies are `heron.server.copies`.
"""

from heron.algorithms.algorithm import Algorithm, first_order
from heron.algorithms.coupled import coupled_round
from heron.client.first_order import SplitClient

SFLV1 = Algorithm(
    name="sflv1",
    summary="SplitFed V1: cut gradients come back every step, one server copy per client, averaged each round",
    citation="Thapa, Chamikara, Camtepe, Sun, AAAI 2022, arXiv 2004.12088",
    orders=first_order,
    make_client=SplitClient,
    run_round=coupled_round,
    head=None,
    uploads="every_step",
    answers="cut_gradient",
    main_server="heron.server.copies:CopyPerClientServer",
)
