"""The client app: `flwr` starts it on every node."""

from collections.abc import Mapping
from typing import Any

from heron.config import build_clients, from_toml, override
from heron.engines.clients import Clients
from heron.flower import make_client_app

NODE_KEYS = ("device", "threads")
"""What a node may have other than the server."""


def clients_of_node(config: str, node_config: Mapping[str, Any]) -> Clients:
    """The clients' side as the server's configuration and this node's own have it.

    Args:
        config: the run's configuration as TOML.
        node_config: the node's; `NODE_KEYS` are taken from it.

    Raises:
        HeronError: if the configuration, the data or the device does not work out here.
    """
    own = [f"{key}={node_config[key]}" for key in NODE_KEYS if key in node_config]
    return build_clients(override(from_toml(config), own))


app = make_client_app(clients_of_node)
