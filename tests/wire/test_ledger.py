import copy
import itertools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.errors import CheckpointError
from heron.wire import DIRECTIONS, Ledger

RECORDS = st.lists(
    st.tuples(st.sampled_from(DIRECTIONS), st.dictionaries(st.text(max_size=3), st.integers(0, 2**40), max_size=3))
)


def filled(records: Any) -> Ledger:
    ledger = Ledger()
    for direction, sizes in records:
        ledger.record(direction, sizes)
    return ledger


EXAMPLE = filled([("uplink", {"smashed": 70, "framing": 30}), ("uplink", {"framing": 5}), ("downlink", {"model": 8})])


def test_counts_by_direction_and_kind() -> None:
    assert (EXAMPLE.uplink_bytes, EXAMPLE.downlink_bytes) == (105, 8)
    assert EXAMPLE.by_kind("uplink") == {"framing": 35, "smashed": 70}
    assert EXAMPLE.by_kind("downlink") == {"model": 8}
    assert (EXAMPLE.num_messages("uplink"), EXAMPLE.num_messages("downlink")) == (2, 1)


def test_a_new_ledger_is_empty() -> None:
    ledger = Ledger()
    assert (ledger.uplink_bytes, ledger.downlink_bytes) == (0, 0)
    assert [ledger.num_messages(direction) for direction in DIRECTIONS] == [0, 0]
    assert Ledger.from_dict(ledger.to_dict()).to_dict() == ledger.to_dict()


@given(RECORDS)
@settings(deadline=None)
def test_totals_and_round_trip(records: Any) -> None:
    ledger = filled(records)
    for direction in DIRECTIONS:
        sizes = [sizes for way, sizes in records if way == direction]
        expected = sum((Counter(size) for size in sizes), Counter())
        assert Counter(ledger.by_kind(direction)) == expected
        assert ledger.num_messages(direction) == len(sizes)
        assert getattr(ledger, f"{direction}_bytes") == sum(expected.values())
    restored = Ledger.from_dict(json.loads(json.dumps(ledger.to_dict())))
    assert restored.to_dict() == ledger.to_dict()


def test_the_text_does_not_depend_on_the_order_of_records() -> None:
    records = [("uplink", {"b": 1}), ("downlink", {"c": 2, "a": 3}), ("uplink", {"a": 4})]
    texts = {json.dumps(filled(order).to_dict()) for order in itertools.permutations(records)}
    assert texts == {
        '{"uplink": {"messages": 2, "bytes": {"a": 4, "b": 1}}, "downlink": {"messages": 1, "bytes": {"a": 3, "c": 2}}}'
    }


def test_a_restored_ledger_goes_on_by_itself() -> None:
    values = EXAMPLE.to_dict()
    before = copy.deepcopy(values)
    restored = Ledger.from_dict(values)
    restored.record("uplink", {"smashed": 1})
    assert restored.uplink_bytes == EXAMPLE.uplink_bytes + 1
    assert values == before
    EXAMPLE.by_kind("uplink")["smashed"] = 0
    assert EXAMPLE.to_dict() == before


def test_an_unknown_direction_is_refused() -> None:
    ledger = Ledger()
    with pytest.raises(KeyError):
        ledger.record("sideways", {"model": 1})  # type: ignore[arg-type]
    assert ledger.to_dict() == Ledger().to_dict()


RUBBISH: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a direction is absent": lambda values: values.pop("uplink"),
    "a direction is unknown": lambda values: values.update(sideways=values["uplink"]),
    "a direction is no mapping": lambda values: values.update(uplink=[]),
    "messages are absent": lambda values: values["uplink"].pop("messages"),
    "bytes are absent": lambda values: values["uplink"].pop("bytes"),
    "an entry is unknown": lambda values: values["uplink"].update(extra=1),
    "messages are negative": lambda values: values["uplink"].update(messages=-1),
    "messages are a float": lambda values: values["uplink"].update(messages=2.0),
    "messages are a bool": lambda values: values["uplink"].update(messages=True),
    "messages are a long text": lambda values: values["uplink"].update(messages="2\n" * 9999),
    "bytes without a message": lambda values: values["uplink"].update(messages=0),
    "bytes are a list": lambda values: values["uplink"].update(bytes=[1]),
    "a kind is no text": lambda values: values["uplink"]["bytes"].update({3: 1}),
    "a size is negative": lambda values: values["uplink"]["bytes"].update(smashed=-1),
    "a size is a float": lambda values: values["uplink"]["bytes"].update(smashed=1.0),
    "a size is null": lambda values: values["uplink"]["bytes"].update(smashed=None),
}


@pytest.mark.parametrize("spoil", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_is_refused(spoil: Callable[[dict[str, Any]], Any]) -> None:
    values = copy.deepcopy(EXAMPLE.to_dict())
    Ledger.from_dict(values)
    spoil(values)
    with pytest.raises(CheckpointError) as caught:
        Ledger.from_dict(values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


COUNTS = st.one_of(st.integers(-1, 3), st.booleans(), st.none(), st.floats(), st.text(max_size=2))
ENTRIES = st.fixed_dictionaries(
    {}, optional={"messages": COUNTS, "bytes": st.dictionaries(st.text(max_size=2) | st.none(), COUNTS, max_size=2)}
)
VALUES = st.one_of(COUNTS, st.fixed_dictionaries({}, optional={"uplink": ENTRIES | COUNTS, "downlink": ENTRIES}))


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_what_is_accepted_is_kept_as_it_is(values: Any) -> None:
    try:
        ledger = Ledger.from_dict(values)
    except CheckpointError:
        return
    assert json.dumps(ledger.to_dict(), sort_keys=True) == json.dumps(values, sort_keys=True)
