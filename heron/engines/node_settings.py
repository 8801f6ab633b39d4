"""Settings that a node of a deployment may have for itself."""

from collections.abc import Mapping
from typing import Any

from heron.errors import ConfigError, MessageError
from heron.wire.groups import Settings
from heron.wire.plain import from_plain, to_plain

NODE_KEYS = ("device", "threads")
"""Their keys."""


def own_settings(settings: Settings, node_config: Mapping[str, Any]) -> Settings:
    """Return a run's settings with those of `NODE_KEYS` that a node has for itself.

    Args:
        settings: of the run.
        node_config: the node's own configuration; other keys are ignored.

    Raises:
        ConfigError: if a value has another type or is out of range.
    """
    own = {key: node_config[key] for key in NODE_KEYS if key in node_config}
    try:
        return from_plain(Settings, to_plain(settings) | own, "node configuration")
    except MessageError as error:
        raise ConfigError(str(error).partition(";")[0]) from error
