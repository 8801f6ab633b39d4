"""The same federation on Flower: one client app, one server app, around the handlers of the in-process engine."""

from heron.flower.client_app import make_client_app
from heron.flower.engine import FlowerFederation
from heron.flower.server_app import make_server_app
from heron.flower.settings import DeploymentSettings

__all__ = ["DeploymentSettings", "FlowerFederation", "make_client_app", "make_server_app"]
