"""The configuration reference: every section and key with its type, range, default, meaning and users."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints

from heron.config import RunConfig
from heron.config.families import MODELS
from heron.data import DATA_SETS
from heron.wire.network import DeviceProfile
from pages.docstrings import sentences, summary_of
from pages.types import type_text, value_text
from pages.users import users_text

_INTRO = """\
# Configuration

Every setting of a run has one name: in a TOML file, after `--set` on the command line, and in
[`heron.train`](api/heron.md). `heron recipes NAME` shows a recipe with all its values; a run directory contains them as
`config.toml`.

```sh
heron train digits --set rounds=3 --set client.learning_rate=3e-3 --set estimator.probes=2
```

<!-- not run: the network and the data are the reader's -->
```python
heron.train(split, data, rounds=3, client={"learning_rate": 3e-3}, estimator={"probes": 2})
```

Defaults are those of `heron.Settings()`, with which `heron.train` starts; recipes choose others. A value of another
type or out of its range is refused before anything runs. *Used by* lists the algorithms that use a key; the others
ignore or refuse it."""

_DEVICES = """\
## Device classes

A file that `link.profile` names has a table for each class of devices, whose heading is the name of the class."""


def configuration_page() -> str:
    """Make the page.

    Returns:
        Markdown with a heading for each section and each key.
    """
    hints = get_type_hints(RunConfig)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    alone = [field for field in fields(RunConfig) if field.name not in {*groups, "data", "split"}]
    alone.sort(key=lambda field: not _is_required(field))
    parts = [_INTRO, "## The run as a whole", "Keys outside of any section.", *_keys(RunConfig, alone)]
    for name, group in groups.items():
        _, _, subject = summary_of(group).partition(": ")
        parts += [f"## `[{name}]`", _sentence(subject), *_keys(group, fields(group), section=name)]
    parts += _kinds(
        "data",
        "The data set: `data.name` chooses it, and with it the other keys, which then have their defaults.",
        DATA_SETS,
    )
    parts += _kinds(
        "split", "The network and its cut: `split.model` chooses the family, and with it the other keys.", MODELS
    )
    parts += [_DEVICES, *_keys(DeviceProfile, fields(DeviceProfile)[1:], anchor="device", has_users=False)]
    return "\n\n".join(parts) + "\n"


def _kinds(section: str, intro: str, kinds: Mapping[str, Any]) -> list[str]:
    """The parts of a section whose keys depend on one of them."""
    parts = [f"## `[{section}]`", intro]
    for name, kind in kinds.items():
        anchor = f"{section}-{name}"
        parts += [f"### `{name}` {{ #{anchor} }}", summary_of(kind)]
        free = [field for field in fields(kind) if field.default != name]
        parts += _keys(kind, free, section=section, anchor=anchor, level=4, has_users=False)
    return parts


def _keys(
    group: type,
    chosen: Sequence[Field[Any]],
    *,
    section: str = "",
    anchor: str = "",
    level: int = 3,
    has_users: bool = True,
) -> list[str]:
    """A heading, a line of facts and the meaning of each key."""
    hints, meanings, parts = get_type_hints(group, include_extras=True), sentences(group), []
    for field in chosen:
        key = f"{section}.{field.name}" if section else field.name
        facts = [type_text(hints[field.name]), "required" if _is_required(field) else f"default {_default(field)}"]
        if has_users:
            facts.append(f"used by {users_text(key)}")
        parts += [
            f"{'#' * level} `{key}` {{ #{anchor + '-' + field.name if anchor else key} }}",
            f"*{'; '.join(facts)}*",
            _sentence(meanings[field.name]),
        ]
    return parts


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: Field[Any]) -> str:
    # A factory of a plain value asks the machine, which is no part of a page.
    return "all cores" if field.default is MISSING else value_text(field.default)
