"""Split federated learning with backprop-free clients.

A network is cut in two. Clients hold the first layers and a small auxiliary network and learn with forward passes
only; a Main Server trains the rest by backpropagation; a Fed Server averages the clients (HERON-SFL, Kou et al.,
arXiv 2601.09076). Start with `heron.train` for your own network and data, with `heron.zo` for a zeroth-order
optimiser without federation, or with the command line: `heron --help`.
"""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

__version__ = "0.1.0"

# `heron.zo` alone should not import federation, nor `heron --help` torch.
if TYPE_CHECKING:
    import heron.algorithms
    import heron.analysis
    import heron.audit
    import heron.client
    import heron.config
    import heron.costs
    import heron.curvature
    import heron.data
    import heron.deploy
    import heron.engines
    import heron.export
    import heron.flower
    import heron.lm
    import heron.metering
    import heron.privacy
    import heron.report
    import heron.runs
    import heron.server
    import heron.split
    import heron.wire
    import heron.zo  # noqa: F401 - all of these bind `heron`, which has them as attributes
    from heron.training import TrainResult as TrainResult
    from heron.training import train as train
    from heron.wire.groups import Averaging as Averaging
    from heron.wire.groups import Client as Client
    from heron.wire.groups import Clients as Clients
    from heron.wire.groups import Probes as Probes
    from heron.wire.groups import Server as Server
    from heron.wire.groups import Settings as Settings
    from heron.wire.groups import Smashed as Smashed
    from heron.wire.network import Network as Network
    from heron.wire.privacy import Privacy as Privacy
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "Averaging": "heron.wire.groups",
            "Client": "heron.wire.groups",
            "Clients": "heron.wire.groups",
            "Network": "heron.wire.network",
            "Privacy": "heron.wire.privacy",
            "Probes": "heron.wire.groups",
            "Server": "heron.wire.groups",
            "Settings": "heron.wire.groups",
            "Smashed": "heron.wire.groups",
            "TrainResult": "heron.training",
            "train": "heron.training",
        },
        packages=(
            "algorithms",
            "analysis",
            "audit",
            "client",
            "config",
            "costs",
            "curvature",
            "data",
            "deploy",
            "engines",
            "export",
            "flower",
            "lm",
            "metering",
            "privacy",
            "report",
            "runs",
            "server",
            "split",
            "wire",
            "zo",
        ),
    )
