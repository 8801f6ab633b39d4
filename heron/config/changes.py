"""Settings from Python: a complete object, and changes in short form, validated as those of the command line are."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints

from heron.config.overrides import change
from heron.errors import ConfigError
from heron.ranges import shown
from heron.wire.groups import Settings


def settings_with(start: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings with changes, checked.

    Args:
        start: what to start from; of a `RunConfig` its settings alone.
        changes: values by key, as in a TOML file: keys without a section (`seed=1`), and sections as a mapping of some
            of their keys (`client={"exact": 2}`) or as their group (`client=Client(exact=2)`), which replaces all.

    Raises:
        ConfigError: if a key does not exist, a value has another type or is out of range, or two do not agree.
    """
    if not isinstance(start, Settings):
        raise ConfigError(f"expected settings as heron.Settings, found {shown(start)}; changes are given by their key")
    groups = _groups()
    given = Settings(**{field.name: getattr(start, field.name) for field in fields(Settings)})
    return change(given, [pair for name, value in changes.items() for pair in _pairs(name, value, groups)])


def _groups() -> dict[str, Any]:
    """Groups of settings by the names of their sections."""
    return {name: kind for name, kind in get_type_hints(Settings).items() if is_dataclass(kind)}


def _pairs(name: str, value: Any, groups: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of one change."""
    group = groups.get(name)
    if group is None:
        yield name, value
    elif isinstance(value, group):
        yield from ((f"{name}.{key}", found) for key, found in asdict(value).items())
    elif isinstance(value, Mapping):
        yield from ((f"{name}.{key}", found) for key, found in value.items())
    else:
        raise ConfigError(
            f"{name}: expected a mapping of some of its keys or heron.{group.__name__}, found {shown(value)}; write "
            f'{name}={{"{fields(group)[0].name}": ...}}'
        )
