import dataclasses
from typing import get_args

import pytest
import torch

from heron.wire import Message, ModelBroadcast, decode, encode
from heron.wire.layout import LAYOUTS
from tests.wire.drawing import one_of_each


def test_every_message_type_has_one_row() -> None:
    assert {row.message for row in LAYOUTS} == set(get_args(Message))
    assert len({row.message for row in LAYOUTS}) == len(LAYOUTS)
    assert len({row.tag for row in LAYOUTS}) == len(LAYOUTS)


@pytest.mark.parametrize("row", LAYOUTS, ids=lambda row: row.tag)
def test_a_row_names_every_field_once(row) -> None:
    named = [*row.integers, *row.arrays, *row.mappings]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(row.message))
    assert set(row.scalars) <= set(row.arrays)


@pytest.mark.parametrize("message", one_of_each(), ids=lambda message: type(message).__name__)
def test_messages_are_frozen_and_slotted(message: Message) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.round_index = 4  # type: ignore[misc]
    assert not hasattr(message, "__dict__")


def test_a_decoded_message_is_frozen_too() -> None:
    message = decode(encode(ModelBroadcast(0, 0, {"a": torch.ones(1)})))
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.client_id = 4  # type: ignore[misc]
