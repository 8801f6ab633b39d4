"""Conformance of every data set of the table."""

from dataclasses import fields, is_dataclass

import pytest

from heron.data import DATA_SETS, E2E, Digits, Tokenizer, num_examples, shape_of_example
from heron.errors import DataError


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_data_set_is_a_section_with_a_default_for_every_key(name):
    kind = DATA_SETS[name]
    assert is_dataclass(kind)
    assert kind().name == name == fields(kind)[0].default
    assert hash(kind()) == hash(kind())
    assert kind.__doc__
    assert bool(kind.files) == bool(kind.source)


def test_examples_have_the_shape_that_is_known_before_loading():
    splits = Digits().load(0)
    inputs, label = splits.train[0]
    assert tuple(inputs.shape) == Digits().example.inputs == tuple(shape_of_example(splits.train))
    assert str(inputs.dtype) == f"torch.{Digits().example.dtype}"
    assert tuple(label.shape) == Digits().example.labels
    assert num_examples(splits.validation) > 0


def test_texts_need_a_tokenizer_with_room_for_them():
    with pytest.raises(DataError, match=r"^expected the tokenizer of a language model for the data e2e, found none"):
        E2E().load(0)
    letters = Tokenizer(lambda text: [ord(letter) for letter in text], 0, max_length=100, source="letters")
    with pytest.raises(
        DataError, match=r"^expected data\.max_length of at most 100, the positions of letters, found 101; lower it$"
    ):
        E2E(max_length=101).load(0, letters)
