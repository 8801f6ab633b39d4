"""The same federation on Flower: one client app, one server app, around the handlers of the in-process engine.

The face imports each name's module when the name is first asked for: a client without PyTorch takes what it needs.
"""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.flower.bundle_node import build_bundle_clients as build_bundle_clients
    from heron.flower.client_app import make_client_app as make_client_app
    from heron.flower.engine import FlowerFederation as FlowerFederation
    from heron.flower.server_app import make_server_app as make_server_app
    from heron.flower.settings import DeploymentSettings as DeploymentSettings
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "DeploymentSettings": "heron.flower.settings",
            "FlowerFederation": "heron.flower.engine",
            "build_bundle_clients": "heron.flower.bundle_node",
            "make_client_app": "heron.flower.client_app",
            "make_server_app": "heron.flower.server_app",
        },
    )
