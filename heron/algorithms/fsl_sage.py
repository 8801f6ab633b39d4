"""FSL-SAGE: clients learn from an auxiliary network that the server fits to its own gradients.

"FSL-SAGE: Accelerating Federated Split Learning via Smashed Activation Gradient Estimation", Nair, Liu et al.,
arXiv 2505.23182. The client trains theta_c with the gradient of l(f_a(f_c(x)), y) and leaves theta_a alone. Every few
rounds the server aligns theta_a (`alignment`), and theta_a goes down with the next broadcasts.
"""

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.first_order import LocalLossClient
from heron.client.local import LocalNetwork
from heron.server.alignment import AligningServer
from heron.wire.learning import Learning


class FslSageClient(LocalLossClient):
    """A first-order client whose auxiliary network is the server's business.

    Args:
        local: client part, auxiliary network and local loss.
        learning: optimiser and learning rate eta_c.
    """

    def __init__(self, local: LocalNetwork, learning: Learning) -> None:
        super().__init__(local, learning, trained=lambda name: name.startswith("client."))


FSL_SAGE = Algorithm(
    name="fsl_sage",
    summary="FSL-SAGE: first-order clients on an auxiliary network that the server aligns with its own gradients",
    citation="Nair, Liu et al., arXiv 2505.23182 (2025)",
    make_client=FslSageClient,
    run_round=decoupled_round,
    head="auxiliary",
    make_main_server=AligningServer,
    downlink_only="auxiliary",
)
