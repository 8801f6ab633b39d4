"""Objects of settings cannot be made with a value of another type or out of range, by whatever door."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

import heron
from heron.checked import Checked
from heron.config import override, recipe_config, settings_with
from heron.data import Digits
from heron.errors import ConfigError, HeronError
from heron.ranges import PositiveFloat, PositiveInt
from heron.split import DigitsCnn
from heron.wire.groups import Settings

GROUPS: dict[str, Any] = {name: kind for name, kind in get_type_hints(Settings).items() if is_dataclass(kind)}
KEYS = [
    (section, field.name)
    for section, kind in {"": Settings, **GROUPS}.items()
    for field in fields(kind)
    if field.name not in GROUPS and field.name not in {"devices", "profile"}
]
# No setting takes all of these, each refuses those that are not of its type.
VALUES: tuple[Any, ...] = (2.5, "medain", True, None, -1, float("nan"), [1])


def message(make: Callable[[], object]) -> str | None:
    try:
        make()
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("section", "key"), KEYS, ids=[f"{section}.{key}" for section, key in KEYS])
def test_every_door_refuses_the_same_in_the_same_words(section: str, key: str) -> None:
    """By hand, in `heron.train`, and on the command line as far as a text can say it."""
    refusals = 0
    for value in VALUES:
        kind = GROUPS.get(section, Settings)
        by_hand = message(lambda kind=kind, value=value: kind(**{key: value}))
        changes = {section: {key: value}} if section else {key: value}
        by_train = message(lambda changes=changes: settings_with(Settings(), changes))
        assert by_train == by_hand
        if by_hand is not None:
            refusals += 1
            assert by_hand.startswith(f"{section}.{key}: expected " if section else f"{key}: expected ")
            assert ", found " in by_hand
            assert "\n" not in by_hand
        dotted = f"{section}.{key}" if section else key
        if isinstance(value, float | str) and value == value:
            by_set = message(lambda dotted=dotted, value=value: override(CONFIG, [f"{dotted}={value}"]))
            assert by_set == by_hand
    assert refusals >= 3


CONFIG = recipe_config("digits", "heron", [])


def test_replacing_a_value_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"^client.local_steps: expected an integer of at least 0, found 2.5$"):
        replace(heron.Client(), local_steps=2.5)
    with pytest.raises(ConfigError, match=r"^clients: expected an object of Clients, found 5$"):
        replace(Settings(), clients=5)
    with pytest.raises(ConfigError, match="rounds"):
        replace(CONFIG, rounds="3")


def test_values_take_the_type_of_their_setting() -> None:
    client = heron.Client(learning_rate=1, batch_size=np.int64(4), memory_budget="1KiB")
    assert (type(client.learning_rate), type(client.batch_size), client.memory_budget) == (float, int, 1024)


def test_data_sets_and_families_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"^data.validation: expected a number in \[0, 1\), found '0.2'$"):
        Digits(validation="0.2")
    with pytest.raises(HeronError, match=r"^split\."):
        DigitsCnn(cut=3)


def test_a_base_hands_its_section_down_and_anything_may_be_anything() -> None:
    @dataclass(frozen=True)
    class Base(Checked, section="base"):
        size: PositiveInt = 1

    @dataclass(frozen=True)
    class Derived(Base):
        rate: PositiveFloat = 1.0
        other: Any = None

    assert Derived(other=object()).section == "base"
    with pytest.raises(ConfigError, match=r"^base.size: "):
        Derived(0)
    with pytest.raises(ConfigError, match=r"^base.rate: "):
        Derived(rate=-1)


def test_choices_are_literals_of_text() -> None:
    """The fast check of a choice looks for texts alone."""
    for kind in (Settings, *GROUPS.values()):
        for hint in get_type_hints(kind).values():
            if get_origin(hint) is Literal:
                assert all(isinstance(choice, str) for choice in get_args(hint))
