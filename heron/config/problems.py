"""One line for a key or a value that is not as it should be, with the key that was probably meant."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from pydantic import ValidationError

from heron.config.models import OneOf, sections_of_kinds
from heron.errors import ConfigError
from heron.ranges import shown

_UNIONS = ("data", "split")


def check_choice(what: str, found: Any, choices: Collection[str]) -> None:
    """Refuse a name that is not one of the choices, with the nearest one.

    Args:
        what: kind of thing that is named, for the error.
        found: the name.
        choices: known names.

    Raises:
        ConfigError: if it is not.
    """
    if not isinstance(found, str):
        raise ConfigError(f"expected the name of {what}, one of {', '.join(choices)}, found {shown(found)}")
    if found not in choices:
        raise ConfigError(f"unknown {what} {found!r}{nearest(found, choices)}; known: {', '.join(choices)}")


def nearest(found: str, choices: Collection[str]) -> str:
    """The key that was probably meant: same section first; initials (`lr`) and bare last parts are understood.

    Args:
        found: a key that does not exist.
        choices: those that do.

    Returns:
        A question to end a message with; empty if no key is near.
    """
    section, _, name = found.rpartition(".")
    pool = [choice for choice in choices if section and choice.startswith(f"{section}.")] or list(choices)
    near = (
        [choice for choice in pool if "".join(word[0] for word in _last(choice).split("_")) == name]
        or [choice for choice in choices if _last(choice) == name]
        or difflib.get_close_matches(found, pool, n=1, cutoff=0.5)
    )
    return f"; did you mean {near[0]!r}?" if near else ""


def kinds_with(key: str, group: type) -> str:
    """Say which kinds of its section have a key; empty if none has.

    Args:
        key: dotted name.
        group: the dataclass of settings.
    """
    section, _, name = key.partition(".")
    kinds = sections_of_kinds(group).get(section)
    having = [] if kinds is None else [known for known, kind in kinds.table.items() if name in _names(kind)]
    return f"{section}.{kinds.key}={' or '.join(having)}" if kinds is not None and having else ""


def first_problem(error: ValidationError, group: type) -> str:
    """Say what is wrong with the first key that is not as it should be.

    Args:
        error: what validation found.
        group: the dataclass that values were validated for.
    """
    problem = error.errors()[0]
    key = _key_of(problem)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{nearest(key, list(known_keys(group)))}"
    if problem["type"] == "missing":
        return (
            f"missing key {key!r}: a saved configuration holds every key; if another version of heron saved it, start "
            f"the run over"
        )
    if problem["type"] == "value_error":  # of a validator of ours, complete as it is
        return f"{key}: {problem['ctx']['error']}"
    return f"{key}: {problem['msg'].lower()}, found {shown(problem.get('input'))}"


def known_keys(group: type, prefix: str = "") -> Iterator[str]:
    """Dotted keys of a dataclass of settings, those of every kind of a section."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kinds = _kinds(hints[field.name])
        for kind in kinds:
            yield from known_keys(kind, f"{prefix}{field.name}.")
        if not kinds:
            yield f"{prefix}{field.name}"


def _kinds(annotation: Any) -> list[type]:
    """Dataclasses of a section; none for a plain key."""
    marks = [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, OneOf)]
    if marks:
        return list(marks[0].table.values())
    return [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and is_dataclass(kind)]


def _names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def _key_of(problem: Mapping[str, Any]) -> str:
    section, *rest = [str(part) for part in problem["loc"]] or [""]
    if section in _UNIONS:  # the next part names the member of the union, which is no part of the key
        rest = rest[1:]
    # Keys have two parts at most; a third names one of the types that a value may have.
    return ".".join([section, *rest[:1]])


def _last(key: str) -> str:
    return key.rpartition(".")[2]
