"""Settings of tests, in short form and unchecked: tests also need what `heron.train` would refuse."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from heron.wire.groups import Client, Settings

_CLIENT = {field.name for field in fields(Client)}


def changed(settings: Settings, **changes: Any) -> Settings:
    """Settings with changes: a mapping changes keys of its section; keys of `[client]` need no section."""
    for name, value in changes.items():
        if name in _CLIENT:
            settings = replace(settings, client=replace(settings.client, **{name: value}))
        elif isinstance(value, Mapping):
            settings = replace(settings, **{name: replace(getattr(settings, name), **value)})
        else:
            settings = replace(settings, **{name: value})
    return settings
