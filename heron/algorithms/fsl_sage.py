"""FSL-SAGE: clients learn from an auxiliary network that the server fits to its own gradients.

"FSL-SAGE: Accelerating Federated Split Learning via Smashed Activation Gradient Estimation", Nair, Liu et al.,
arXiv 2505.23182. The client trains theta_c with the gradient of l(f_a(f_c(x)), y) and leaves theta_a alone. Every few
rounds the server aligns theta_a (`alignment`), and theta_a goes down with the next broadcasts.
"""

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.first_order import LocalLossClient
from heron.client.runtime import Orders

FSL_SAGE = Algorithm(
    name="fsl_sage",
    summary="FSL-SAGE: first-order clients on an auxiliary network that the server aligns with its own gradients",
    citation="Nair, Liu et al., arXiv 2505.23182 (2025)",
    # The auxiliary network is the server's to train.
    orders=lambda _: Orders(exact="all", head=False),
    make_client=LocalLossClient,
    run_round=decoupled_round,
    head="auxiliary",
    main_server="heron.server.alignment:AligningServer",
    downlink_only="auxiliary",
)
