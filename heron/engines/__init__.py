"""Engines that run the algorithms: both servers of a run, and all its parties in one process."""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.engines.agreement import agree as agree
    from heron.engines.clients import Clients as Clients
    from heron.engines.in_process import Federation as Federation
    from heron.engines.profile import profile_client as profile_client
    from heron.engines.round_result import RoundResult as RoundResult
    from heron.engines.servers import Servers as Servers
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "Clients": "heron.engines.clients",
            "Federation": "heron.engines.in_process",
            "RoundResult": "heron.engines.round_result",
            "Servers": "heron.engines.servers",
            "agree": "heron.engines.agreement",
            "profile_client": "heron.engines.profile",
        },
    )
