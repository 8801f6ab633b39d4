"""Configurations from and to TOML, and changes to single keys, with errors a person can act on."""

import difflib
import hashlib
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, get_args

import tomli_w
from pydantic import ValidationError

from heron.algorithms import ALGORITHMS
from heron.config.devices import check_link, with_devices
from heron.config.schema import RunConfig
from heron.errors import ConfigError

_UNIONS = ("data", "split")


def override(config: RunConfig, assignments: Sequence[str]) -> RunConfig:
    """Apply `key=value` assignments, e.g. `client.learning_rate=1e-3`.

    A `client.memory_budget` that is given replaces the `client.exact` of the configuration; given both, they are
    refused. A `link.profile` that is given is read, and its content becomes `link.devices`.

    Args:
        config: the configuration to start from.
        assignments: dotted keys and TOML values; a bare word is a string.

    Raises:
        ConfigError: if a key does not exist, a value is out of range, or the profile cannot be read.
    """
    values = config.model_dump()
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(f"expected --set key=value, found {assignment!r}")
        _assign(values, key.strip(), _parse(text.strip()))
    config = _build(values)
    if "link.profile" in assigned_keys(assignments):
        config = with_devices(config)
    if config.client.memory_budget and "client.exact" not in assigned_keys(assignments):
        config = config.model_copy(update={"client": config.client.model_copy(update={"exact": 0})})
    return _agreed(config)


def assigned_keys(assignments: Sequence[str]) -> set[str]:
    """The keys that `key=value` assignments give, whether they exist or not."""
    return {assignment.partition("=")[0].strip() for assignment in assignments}


def validate(values: Mapping[str, Any]) -> RunConfig:
    """Build a configuration from plain values.

    Raises:
        ConfigError: naming the first key that is unknown, absent or out of range.
    """
    return _agreed(_build(values))


def _build(values: Mapping[str, Any]) -> RunConfig:
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_problem(error)) from error
    check_choice("algorithm", config.algorithm, ALGORITHMS)
    return config


def _agreed(config: RunConfig) -> RunConfig:
    """The configuration, if its keys agree with each other."""
    if config.client.memory_budget and config.client.exact != 0:
        raise ConfigError(
            f"client.memory_budget chooses client.exact: expected one of them, found {config.client.memory_budget} and "
            f"{config.client.exact}; set one to 0"
        )
    check_link(config)
    return config


def check_choice(what: str, found: str, choices: Collection[str]) -> None:
    """Refuse a name that is not one of the choices, with the nearest one.

    Raises:
        ConfigError: if it is not.
    """
    if found not in choices:
        raise ConfigError(f"unknown {what} {found!r}{_nearest(found, choices)}; known: {', '.join(choices)}")


def to_toml(config: RunConfig) -> str:
    """The complete configuration as TOML."""
    return tomli_w.dumps(config.model_dump())


def from_toml(text: str) -> RunConfig:
    """Read a complete configuration.

    Raises:
        ConfigError: if it is not TOML, or not a configuration.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"expected a TOML configuration: {error}") from error
    return validate(values)


def fingerprint(config: RunConfig) -> str:
    """Hash of the configuration: two runs with equal fingerprints compute the same, by whatever kernel."""
    config = config.model_copy(update={"client": config.client.model_copy(update={"kernel": "auto"})})
    return hashlib.blake2b(to_toml(config).encode(), digest_size=8).hexdigest()


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    known = list(_keys(values))
    if key not in known:
        raise ConfigError(f"unknown key {key!r}{_nearest(key, known)}; `heron recipes NAME` lists all keys")
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


def _nearest(found: str, choices: Collection[str]) -> str:
    """The key that was probably meant: same section first; initials (`lr`) and bare last parts are understood."""
    section, _, name = found.rpartition(".")
    pool = [choice for choice in choices if section and choice.startswith(f"{section}.")] or list(choices)
    near = (
        [choice for choice in pool if "".join(word[0] for word in _last(choice).split("_")) == name]
        or [choice for choice in choices if _last(choice) == name]
        or difflib.get_close_matches(found, pool, n=1, cutoff=0.5)
    )
    return f"; did you mean {near[0]!r}?" if near else ""


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _first_problem(error: ValidationError) -> str:
    problem, *others = error.errors()
    key = _key_of(problem)
    if problem["type"] == "extra_forbidden":
        known = list(_schema_keys())
        return f"unknown key {key!r}{_nearest(key, known)}"
    if problem["type"] == "missing":
        return f"missing key {key!r}: a saved configuration holds every key"
    if problem["type"] == "value_error":  # of a validator of ours, complete as it is
        return f"{key}: {problem['ctx']['error']}"
    found = problem.get("input")
    shown = "" if isinstance(found, Mapping) else f", found {found!r}"
    # A key that takes several types has a problem with each of them.
    told = " or ".join(each["msg"].lower() for each in (problem, *others) if _key_of(each) == key)
    return " ".join(f"{key}: {told}{shown}".split())  # what was found may hold line breaks


def _key_of(problem: Mapping[str, Any]) -> str:
    section, *rest = [str(part) for part in problem["loc"]] or [""]
    if section in _UNIONS:  # the next part names the member of the union, which is no part of the key
        rest = rest[1:]
    # Keys have two parts at most; a third names one of the types that a value may have.
    return ".".join([section, *rest[:1]])


def _schema_keys(model: Any = RunConfig, prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        members = [
            member for member in (field.annotation, *get_args(field.annotation)) if hasattr(member, "model_fields")
        ]
        for member in members:
            yield from _schema_keys(member, f"{prefix}{name}.")
        if not members:
            yield f"{prefix}{name}"
