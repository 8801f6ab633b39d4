"""Reachability of the hub, asked before its client is, which tries again for half a minute."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

_PATIENCE_S = 3.0
_PORTS = {"https": 443, "http": 80}


def only_cached(source: Path) -> bool:
    """Return whether something can come from the hub's cache alone, because nothing answers where the hub is.

    Args:
        source: a directory, or a name on the hub.
    """
    if source.is_dir() or getproxies():  # a proxy reaches what this host does not
        return False
    address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        port = address.port or _PORTS.get(address.scheme, 443)
        socket.create_connection((address.hostname or "", port), _PATIENCE_S).close()
    except (OSError, ValueError):
        return True
    return False


@contextmanager
def hub_cache(name: str) -> Iterator[None]:
    """Let the hub's client look into its cache alone within a block, if nothing answers where the hub is.

    Args:
        name: of what is loaded.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or only_cached(Path(name))
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
