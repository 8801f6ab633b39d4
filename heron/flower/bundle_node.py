"""A node that is a client without PyTorch: a bundle and a file of examples, both named by the node's configuration."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from heron.client.onnx_runtime.bundle import open_bundle
from heron.engines.bundle_clients import bundle_clients
from heron.engines.bundle_examples import read_examples
from heron.engines.clients import Clients
from heron.engines.node_settings import own_settings
from heron.errors import ConfigError
from heron.flower.client_app import own_client_id
from heron.privacy.vault import Vault
from heron.wire.terms import Terms

BUNDLE_KEY = "bundle"
"""Key of a node's configuration: folder of `heron export-client`."""
DATA_KEY = "data"
"""Key of a node's configuration: file of the client's examples."""


def build_bundle_clients(terms: Terms, node_config: Mapping[str, Any], vault: Vault | None = None) -> Clients:
    """Build the clients' side of a run on a node without PyTorch.

    The client has the node's own examples and no share of the server's data set. Its number is the node's
    `partition-id`, as of every node; how many examples it has, the server reads from its replies.

    Args:
        terms: of the run, as they were received.
        node_config: this node's own configuration: `bundle`, `data`, `partition-id`, and `threads` if it differs from
            the server's.
        vault: keeps the secret of this node; None where the run needs none.

    Raises:
        HeronError: if bundle or examples cannot be used, or are not those of this run.
    """
    folder, file = (_path(node_config, key) for key in (BUNDLE_KEY, DATA_KEY))
    if node_config.get("device", "cpu") != "cpu":
        raise ConfigError(f"expected no device but cpu next to {BUNDLE_KEY}, found {node_config['device']!r}; drop it")
    client_id = own_client_id(node_config)
    own = {key: value for key, value in node_config.items() if key == "threads"}
    terms = replace(terms, settings=own_settings(terms.settings, own))
    bundle = open_bundle(folder)
    return bundle_clients(terms, bundle, client_id, read_examples(file, bundle.manifest), vault)


def _path(node_config: Mapping[str, Any], key: str) -> Path:
    value = node_config.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(
            f"expected {key} as a path in the node's configuration, found {value!r}; start the SuperNode with "
            f"--node-config \"partition-id=0 {BUNDLE_KEY}='DIR' {DATA_KEY}='FILE.npz'\""
        )
    return Path(value)
