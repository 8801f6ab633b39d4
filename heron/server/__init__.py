"""The two servers: the Main Server, which trains by backpropagation, and the Fed Server, which averages."""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.server.aggregation import Aggregation as Aggregation
    from heron.server.aggregation import Aggregator as Aggregator
    from heron.server.alignment import AligningServer as AligningServer
    from heron.server.alignment import refreshing_server as refreshing_server
    from heron.server.copies import CopyPerClientServer as CopyPerClientServer
    from heron.server.fed_adam import FedAdam as FedAdam
    from heron.server.fed_server import FedServer as FedServer
    from heron.server.fed_servers import make_fed_server as make_fed_server
    from heron.server.loss_server import LossServer as LossServer
    from heron.server.main_server import MainServer as MainServer
    from heron.server.scalar_server import ScalarFedServer as ScalarFedServer
    from heron.server.setup import ServerSetup as ServerSetup
    from heron.server.uploads import UploadBuffer as UploadBuffer
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "Aggregation": "heron.server.aggregation",
            "Aggregator": "heron.server.aggregation",
            "AligningServer": "heron.server.alignment",
            "CopyPerClientServer": "heron.server.copies",
            "FedAdam": "heron.server.fed_adam",
            "FedServer": "heron.server.fed_server",
            "LossServer": "heron.server.loss_server",
            "MainServer": "heron.server.main_server",
            "ScalarFedServer": "heron.server.scalar_server",
            "ServerSetup": "heron.server.setup",
            "UploadBuffer": "heron.server.uploads",
            "make_fed_server": "heron.server.fed_servers",
            "refreshing_server": "heron.server.alignment",
        },
    )
