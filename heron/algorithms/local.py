"""Layer-local learning: groups of the client's layers, each trained exactly on the loss of a small head of its own.

"Training neural networks with local error signals", Noekland and Eidnes, ICML 2019 (arXiv 1901.06656), whose
prediction loss this is; "Greedy layerwise learning can scale to ImageNet", Belilovsky, Eickenberg and Oyallon, ICML
2019 (arXiv 1812.11446), whose blocks learn at the same time here. The round is HERON-SFL's: the last group's head is
the auxiliary network, and no gradient comes back or crosses a group (`heron.client.layer_local`).
"""

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.first_order import LocalLossClient
from heron.client.layer_local import LayerLocalClient
from heron.client.private_exact_groups import PrivateExactGroupsClient
from heron.client.runtime import Orders

LOCAL = Algorithm(
    name="local",
    summary="layer-local learning: groups of layers learn exactly, each from a small head of its own",
    citation="Noekland, Eidnes, ICML 2019, arXiv 1901.06656; Belilovsky, Eickenberg, Oyallon, arXiv 1812.11446 (2019)",
    orders=lambda learning: Orders("all", groups=learning.client.groups),
    make_client=lambda runtime, learning: LayerLocalClient(runtime, lambda group: LocalLossClient(group, learning)),
    run_round=decoupled_round,
    head="auxiliary",
    main_server="heron.server.alignment:refreshing_server",
    fixed={"client": {"learning": "local_exact"}},
    make_private=lambda runtime, learning: PrivateExactGroupsClient(
        runtime, learning, upload_period=learning.client.upload_period
    ),
)
