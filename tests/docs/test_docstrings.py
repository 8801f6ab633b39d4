"""Every public name is documented: what it is, its parameters, what it returns, and the errors that it raises itself.

A method that overrides one of a class of `heron` has its documentation there. `Arguments as of X` refers to another.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

pytest.importorskip("griffe", reason="docstrings are read by griffe, of the extra `docs`")

import heron.errors
from pages.interfaces import entry, interface_pages, public_names
from tests.architecture.test_words import opening

NAMES = [f"{package}.{name}" for package, names in public_names().items() for name in names]
ERRORS = {name for name in vars(heron.errors) if name.endswith("Error")}
# Openings that name what is done and not what comes out of it.
ORDERS = {
    *("add", "apply", "clip", "compare", "continue", "divide", "exchange", "hand", "keep", "load", "open", "probe"),
    *("process", "put", "refuse", "replace", "run", "scale", "send", "serve", "set", "take", "train", "write"),
}


def members(name: str) -> Iterator[tuple[str, Any]]:
    """A public object and, of a class, its public members that it defines itself."""
    target = entry(name)
    yield name, target
    if target.is_class:
        for member, found in target.members.items():
            if not member.startswith("_") and not found.is_alias:
                yield f"{name}.{member}", found


EVERYTHING = [pair for name in NAMES for pair in members(name)]
FUNCTIONS = [(name, found) for name, found in EVERYTHING if found.is_function]
CLASSES = [(name, found) for name, found in EVERYTHING if found.is_class]


def text_of(found: Any) -> str:
    return found.docstring.value if found.docstring else ""


def sections(found: Any) -> dict[str, set[str]]:
    """Names in each section of a docstring; the section alone where its entries have none."""
    parsed = found.docstring.parsed if found.docstring else []
    listed = ("parameters", "attributes", "raises")
    return {
        part.kind.value: {getattr(item, "name", None) or str(item.annotation) for item in part.value}
        if part.kind.value in listed
        else set()
        for part in parsed
    }


def parameters(function: Any) -> list[str]:
    return [parameter.name.lstrip("*") for parameter in function.parameters if parameter.name not in ("self", "cls")]


def is_overriding(function: Any) -> bool:
    """A method of which a base of its class has a documented one."""
    owner = function.parent
    bases = owner.mro() if owner is not None and owner.is_class else []
    return any(function.name in base.members and base.members[function.name].has_docstring for base in bases)


def refers(found: Any) -> bool:
    return "rguments as of" in text_of(found)


def is_context(function: Any) -> bool:
    """A function that is used in a `with` statement, and yields."""
    return any("contextmanager" in str(decorator.value) for decorator in function.decorators)


def own_raises(function: Any) -> set[str]:
    """Errors of `heron` in the `raise` statements of a function's own body."""
    tree = ast.parse(textwrap.dedent(function.source))
    calls = [node.exc.func for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {call.id for call in calls if isinstance(call, ast.Name)} & ERRORS


def is_field(found: Any) -> bool:
    """An attribute of a class: its class documents it."""
    return found.is_attribute and "property" not in found.labels and found.parent.is_class


def test_everything_has_a_docstring() -> None:
    silent = [name for name, found in EVERYTHING if not found.has_docstring and not is_field(found)]
    assert not silent, silent


def test_parameters_are_documented() -> None:
    missing = []
    for name, function in FUNCTIONS:
        names = parameters(function)
        if len(names) > 1 and not refers(function) and not is_overriding(function):
            absent = set(names) - sections(function).get("parameters", set())
            missing += [f"{name}: {', '.join(sorted(absent))}"] * bool(absent)
    assert not missing, "\n".join(["not in Args:", *missing])


def test_constructors_and_fields_are_documented() -> None:
    missing = []
    for name, kind in CLASSES:
        documented: set[str] = set()
        for one in (kind, *kind.mro()):
            found = sections(one)
            documented |= found.get("parameters", set()) | found.get("attributes", set())
        init = kind.members.get("__init__")
        if init is not None:
            documented |= sections(init).get("parameters", set())
        needed = set(parameters(init)) if init is not None and not init.is_alias else set()
        needed |= {
            member
            for member, found in kind.members.items()
            if not member.startswith("_") and is_field(found) and not found.has_docstring
        }
        absent = needed - documented
        missing += [f"{name}: {', '.join(sorted(absent))}"] * bool(absent)
    assert not missing, "\n".join(["neither in Args nor in Attributes:", *missing])


def test_results_are_documented() -> None:
    missing = []
    for name, function in FUNCTIONS:
        has_result = str(function.returns or "None") != "None" and not is_overriding(function)
        told = {"returns", "yields"} & sections(function).keys() or refers(function)
        is_order = opening(text_of(function) or "?") in ORDERS and not re.search(r"\breturns?\b", text_of(function))
        if has_result and is_order and not told and not is_context(function):
            missing.append(f"{name}: {text_of(function).splitlines()[0]}")
    assert not missing, "\n".join(["no Returns:", *missing])


def test_errors_are_documented() -> None:
    missing = []
    for name, function in FUNCTIONS:
        absent = own_raises(function) - sections(function).get("raises", set())
        if absent and not is_overriding(function) and "HeronError" not in sections(function).get("raises", set()):
            missing.append(f"{name}: {', '.join(sorted(absent))}")
    assert not missing, "\n".join(["not in Raises:", *missing])


def test_every_name_is_on_a_page() -> None:
    entries = set(re.findall(r"^::: (\S+)$", "\n".join(interface_pages().values()), flags=re.MULTILINE))
    assert entries == set(NAMES)


def test_public_names_are_the_faces() -> None:
    """The static list is what a reader can import."""
    for name in NAMES:
        package, _, last = name.rpartition(".")
        assert hasattr(import_module(package), last), name
