"""Sentences of docstrings: what a class says about each of its fields."""

import inspect
import re
from dataclasses import fields
from typing import Any

_ENTRY = re.compile(r"^    (\w+): (.*)$")


def summary_of(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def sentences(kind: type) -> dict[str, str]:
    """Read the meaning of each field from the section `Attributes` of a dataclass and its bases.

    Args:
        kind: the dataclass.

    Returns:
        One line of text by field, in the order of the fields.

    Raises:
        KeyError: if a field has no sentence.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= _attributes(inspect.cleandoc(base.__doc__ or ""))
    return {field.name: found[field.name] for field in fields(kind)}


def _attributes(docstring: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    _, _, section = docstring.partition("\nAttributes:\n")
    name = ""
    for line in section.splitlines():
        entry = _ENTRY.match(line)
        if entry:
            name = entry[1]
            entries[name] = entry[2]
        elif line.startswith("     ") and name:
            entries[name] += f" {line.strip()}"
        elif not line.startswith("    "):  # the section is over
            break
    return entries
