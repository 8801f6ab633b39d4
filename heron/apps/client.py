"""The client app: `flwr` starts it on every node."""

from collections.abc import Mapping
from typing import Any

from heron.config import build_clients, from_toml, override
from heron.engines.clients import Clients
from heron.flower import make_client_app

NODE_KEYS = ("device", "threads")
"""Keys of the configuration that a node may set differently from the server."""


def clients_of_node(config: str, node_config: Mapping[str, Any]) -> Clients:
    """Build the clients' side from the server's configuration and this node's own.

    Args:
        config: the run's configuration as TOML.
        node_config: the node's configuration; only `NODE_KEYS` are read from it.

    Raises:
        HeronError: if the configuration, the data or the device is not usable here.
    """
    own = [f"{key}={node_config[key]}" for key in NODE_KEYS if key in node_config]
    return build_clients(override(from_toml(config), own))


app = make_client_app(clients_of_node)
