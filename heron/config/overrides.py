"""Configurations from and to TOML, and changes to single keys, with errors a person can act on."""

import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError

from heron.algorithms import ALGORITHMS
from heron.config.devices import check_link, with_devices
from heron.config.models import sections_of_kinds, validated
from heron.config.problems import check_choice, first_problem, kinds_with, nearest
from heron.config.schema import RunConfig
from heron.errors import ConfigError
from heron.wire.groups import Settings

S = TypeVar("S", bound=Settings)


def override(config: RunConfig, assignments: Sequence[str]) -> RunConfig:
    """Apply `key=value` assignments, e.g. `client.learning_rate=1e-3`; see `change`.

    Args:
        config: the configuration to start from.
        assignments: dotted keys and TOML values; a bare word is a string.

    Returns:
        The changed configuration.

    Raises:
        ConfigError: if a key does not exist, a value is out of range, or the profile cannot be read.
    """
    changes = []
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(f"expected --set key=value, found {assignment!r}")
        changes.append((key.strip(), _parse(text.strip())))
    return change(config, changes)


def change(settings: S, changes: Sequence[tuple[str, Any]]) -> S:
    """Settings with other values for some keys, checked.

    The key that names the kind of a section (`data.name`, `split.model`) gives the section that kind's keys with their
    defaults, wherever it is in the list; a kind that the section has already changes nothing. A `client.memory_budget`
    that is given replaces the present `client.exact`; given both, they are refused. A
    `link.profile` that is given is read, and its content becomes `link.devices`, unless these are given, too.

    Args:
        settings: what to start from.
        changes: dotted keys and values; the last one for a key counts.

    Raises:
        ConfigError: if a key does not exist, a value is out of range, or the profile cannot be read.
    """
    given = dict(changes)
    values, keys = asdict(settings) | _other_kinds(settings, given), given.keys()
    for key, value in given.items():
        _assign(values, key, value, type(settings))
    changed = _build(type(settings), values)
    if "link.profile" in keys and not given.get("link.devices"):
        changed = with_devices(changed)
    if changed.client.memory_budget and "client.exact" not in keys:
        changed = replace(changed, client=replace(changed.client, exact=0))
    return _agreed(changed)


def assigned_keys(assignments: Sequence[str]) -> set[str]:
    """The keys that `key=value` assignments give, whether they exist or not."""
    return {assignment.partition("=")[0].strip() for assignment in assignments}


def to_toml(config: RunConfig) -> str:
    """The complete configuration as TOML."""
    return tomli_w.dumps(config.to_dict())


def from_toml(text: str) -> RunConfig:
    """Read a complete configuration.

    Raises:
        ConfigError: if it is not TOML, or not a configuration.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"expected a TOML configuration: {error}") from error
    return _agreed(_build(RunConfig, values))


def fingerprint(config: RunConfig) -> str:
    """Hash of the configuration: two runs with equal fingerprints compute the same rounds, by whatever kernel.

    More rounds continue a run, unless step sizes or noise depend on their number.
    """
    rounds = 1 if config.client.schedule == "constant" and not config.privacy.fixes_rounds else config.rounds
    return hash_of(replace(config, rounds=rounds, client=replace(config.client, kernel="auto")).to_dict())


def hash_of(values: Mapping[str, Any]) -> str:
    """Hash of plain values, in their order."""
    return hashlib.blake2b(tomli_w.dumps(values).encode(), digest_size=8).hexdigest()


def _build(kind: type[S], values: Mapping[str, Any]) -> S:
    try:
        settings = validated(kind, values)
    except ValidationError as error:
        raise ConfigError(first_problem(error, kind)) from error
    if isinstance(settings, RunConfig):
        check_choice("algorithm", settings.algorithm, ALGORITHMS)
    return settings


def _agreed(settings: S) -> S:
    """The settings, if their keys agree with each other."""
    client = settings.client
    if client.memory_budget and client.exact != 0:
        raise ConfigError(
            f"client.memory_budget chooses client.exact: expected one of them, found {client.memory_budget} and "
            f"{client.exact}; set one to 0"
        )
    check_link(settings)
    return settings


def _other_kinds(settings: Settings, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sections that get another kind, with its defaults."""
    found = {}
    for section, kinds in sections_of_kinds(type(settings)).items():
        present = getattr(getattr(settings, section), kinds.key)
        name = given.get(key := f"{section}.{kinds.key}", present)
        if name != present:
            check_choice(key, name, kinds.table)
            found[section] = asdict(kinds.table[name]())
    return found


def _assign(values: dict[str, Any], key: str, value: Any, group: type[Settings]) -> None:
    known = list(_keys(values))
    if key not in known:
        kinds = kinds_with(key, group)
        hint = f", which {kinds} has; set that, too" if kinds else nearest(key, known)
        raise ConfigError(f"unknown key {key!r}{hint}; `heron recipes NAME` lists all keys")
    *sections, name = key.split(".")
    for section in sections:
        values = values[section]
    values[name] = value


def _keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _parse(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text
