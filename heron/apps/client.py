"""The client app: `flwr` starts it on every node. A node whose configuration names a bundle imports no PyTorch."""

from collections.abc import Mapping
from typing import Any

from heron.engines.clients import Clients
from heron.flower import build_bundle_clients, make_client_app
from heron.flower.bundle_node import BUNDLE_KEY
from heron.privacy.vault import Vault
from heron.wire.terms import Terms


def build(terms: Terms, node_config: Mapping[str, Any], vault: Vault | None = None) -> Clients:
    """Build the clients' side of a run on this node, in the runtime that its configuration asks for.

    Args:
        terms: of the run, as they were received.
        node_config: this node's own configuration.
        vault: keeps the secret of this node; None where the run needs none.

    Raises:
        HeronError: if terms, data, bundle or device are not usable here.
    """
    if BUNDLE_KEY in node_config:
        return build_bundle_clients(terms, node_config, vault)
    from heron.config import build_clients

    return build_clients(terms, node_config, vault)


app = make_client_app(build)
