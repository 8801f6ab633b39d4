"""CSE-FSL: clients that learn by backpropagation from the loss of their auxiliary network.

"Communication and Storage Efficient Federated Split Learning", Mu and Shen, arXiv 2302.05599. The same round and
the same local loss as HERON-SFL; the client's gradient is exact and costs it the cached activations.
"""

from heron.algorithms.algorithm import Algorithm, first_order
from heron.algorithms.decoupled import decoupled_round
from heron.client.first_order import LocalLossClient
from heron.client.private import PrivateGradientClient

CSE_FSL = Algorithm(
    name="cse_fsl",
    summary="CSE-FSL: first-order clients on the auxiliary loss, no gradient comes back",
    citation="Mu, Shen, arXiv 2302.05599 (2023)",
    orders=first_order,
    make_client=LocalLossClient,
    run_round=decoupled_round,
    head="auxiliary",
    main_server="heron.server.alignment:refreshing_server",
    control="upper",
    make_private=lambda runtime, learning: PrivateGradientClient(
        runtime, learning, upload_period=learning.client.upload_period
    ),
)
