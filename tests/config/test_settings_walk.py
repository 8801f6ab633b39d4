"""Every setting has one definition and one name, in TOML, for `--set` and for `heron.train`."""

import ast
import tomllib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import heron
from heron.config import from_toml, override, recipe_config, settings_with, to_toml
from heron.config.schema import RunConfig
from heron.wire.groups import Settings

ROOT = Path(__file__).parents[2]
CONFIG = recipe_config("digits", "heron", [])
GROUPS = {name: kind for name, kind in get_type_hints(Settings).items() if is_dataclass(kind)}
# These two are one setting: the profile is read, and what it holds is saved.
PROFILED = {"link.profile", "link.devices"}
# A memory budget replaces `client.exact`.
BUDGET = "client.memory_budget"
# Objects that compute, each made from its group in one place; and the value of `link.devices`.
VIEWS = {"Aggregation", "FedAdam", "DeviceProfile"}


def leaves(kind: type = Settings, prefix: str = "") -> dict[str, Any]:
    """Annotations of all settings by dotted key."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        found |= leaves(hint, f"{prefix}{name}.") if is_dataclass(hint) else {f"{prefix}{name}": hint}
    return found


LEAVES = leaves()
PLAIN = [key for key in LEAVES if key not in PROFILED]


def value_of(settings: Settings, key: str) -> Any:
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def another(key: str) -> Any:
    """A value that is in range and not the present one."""
    present, hint = value_of(CONFIG, key), LEAVES[key]
    if get_origin(hint) is Literal:
        return next(choice for choice in get_args(hint) if choice != present)
    if isinstance(present, bool):
        return not present
    if any(float in (part, get_origin(part), *get_args(part)) for part in get_args(hint)):  # a number, or a word
        return 0.5
    if isinstance(present, str):
        return f"{present}:0"
    return present + 1 if isinstance(present, int) else present / 2 + 0.125


def set_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("key", PLAIN)
def test_one_name_for_toml_set_and_train(key: str) -> None:
    value = another(key)
    by_set = override(CONFIG, [f"{key}={set_text(value)}"])
    assert value_of(by_set, key) == value != value_of(CONFIG, key)
    saved: Any = tomllib.loads(to_toml(by_set))
    for name in key.split("."):
        saved = saved[name]
    assert saved == value
    assert from_toml(to_toml(by_set)) == by_set
    section, _, name = key.rpartition(".")
    changes = {section: {name: value}} if section else {key: value}
    by_train = settings_with(CONFIG, changes)
    assert type(by_train) is Settings
    assert by_train == Settings(**{field.name: getattr(by_set, field.name) for field in fields(Settings)})


@pytest.mark.parametrize("section", GROUPS)
def test_a_section_is_the_group_itself(section: str) -> None:
    group = GROUPS[section]
    assert type(getattr(CONFIG, section)) is group
    assert getattr(heron, group.__name__) is group
    settings = settings_with(Settings(), {section: group()})
    assert getattr(settings, section) == group()


def test_profiles_of_devices_are_read_by_all_three(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    path.write_text("[phone]\nuplink_mbps = 10\ndownlink_mbps = 40\nlatency_ms = 25\nspeed = 2\nshare = 1.0\n")
    by_set = override(CONFIG, [f"link.profile={path}"])
    assert by_set.link.devices
    assert from_toml(to_toml(by_set)) == by_set
    assert settings_with(CONFIG, {"link": {"profile": str(path)}}).link == by_set.link
    assert settings_with(CONFIG, {"link": by_set.link}).link == by_set.link


def test_every_setting_has_a_default_and_a_sentence() -> None:
    for kind in (Settings, *GROUPS.values()):
        kind()
        for field in fields(kind):
            assert f"    {field.name}: " in (kind.__doc__ or ""), f"{kind.__name__}.{field.name} has no sentence"


def test_a_setting_is_defined_once() -> None:
    """No other class lists three settings of one group: it would hold the group. `heron.zo` knows no settings."""
    groups = {kind.__name__: {field.name for field in fields(kind)} for kind in GROUPS.values()}
    groups["Settings"] = {field.name for field in fields(Settings)} - GROUPS.keys()
    for path in sorted((ROOT / "heron").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())) if path.parent.name != "zo" else ():
            if not isinstance(node, ast.ClassDef) or node.name in groups.keys() | VIEWS:
                continue
            own = {item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and is_name(item.target)}
            for name, keys in groups.items():
                assert len(own & keys) < 3, f"{path.name}: {node.name} lists {sorted(own & keys)} of {name} again"


def is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name)


def test_a_run_adds_what_it_is_about() -> None:
    own = {field.name for field in fields(RunConfig)} - {field.name for field in fields(Settings)}
    assert own == {"recipe", "algorithm", "data", "split"}


def test_the_walk_is_over_everything() -> None:
    assert len(LEAVES) > 50
    assert replace(CONFIG) == CONFIG
    assert BUDGET in PLAIN
