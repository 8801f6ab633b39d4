"""One check of a value against its type and range, for every door."""

import math
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Lt

from heron.ranges import (
    HalfShare,
    MisfitError,
    NonNegativeFloat,
    NonNegativeInt,
    NumBytes,
    NumThreads,
    PositiveFloat,
    PositiveInt,
    Probability,
    Seed,
    Share,
    expectation,
    fitting,
)

OPTIMIZER = Literal["sgd", "adam"]
EXACT = NonNegativeInt | Literal["all"]
SHAPE = tuple[Annotated[int, Ge(0), Lt(2**40)], ...]


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (PositiveInt, 3, 3),
        (PositiveInt, np.int64(3), 3),
        (Seed, 2**63 - 1, 2**63 - 1),
        (PositiveFloat, 1, 1.0),
        (PositiveFloat, np.float32(0.5), 0.5),
        (PositiveFloat, Fraction(1, 2), 0.5),
        (Probability, 0, 0.0),
        (NumBytes, "1.5KiB", 1536),
        (NumBytes, 7, 7),
        (OPTIMIZER, "adam", "adam"),
        (EXACT, "all", "all"),
        (EXACT, 2, 2),
        (SHAPE, [1, 2], (1, 2)),
        (bool, False, False),
        (str, "cpu", "cpu"),
    ],
)
def test_what_fits_comes_back_as_its_type_says(hint: Any, value: Any, expected: Any) -> None:
    fit = fitting(hint, value)
    assert fit == expected
    assert type(fit) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (PositiveInt, 0, "expected an integer of at least 1, found 0"),
        (PositiveInt, 2.0, "expected an integer of at least 1, found 2.0"),
        (PositiveInt, "3", "expected an integer of at least 1, found '3'"),
        (PositiveInt, True, "expected an integer of at least 1, found True"),
        (PositiveInt, None, "expected an integer of at least 1, found None"),
        (PositiveInt, 2**31, "expected an integer in [1, 2147483648), found 2147483648"),
        (NumThreads, 2000, "expected an integer in [1, 1024], found 2000"),
        (Probability, 1.0, "expected a number in [0, 1), found 1.0"),
        (Share, 1.5, "expected a number in [0, 1], found 1.5"),
        (HalfShare, -0.1, "expected a number in [0, 0.5), found -0.1"),
        (PositiveFloat, 0.0, "expected a finite number above 0, found 0.0"),
        (PositiveFloat, math.nan, "expected a finite number above 0, found nan"),
        (NonNegativeFloat, math.inf, "expected a finite number of at least 0, found inf"),
        (PositiveFloat, False, "expected a finite number above 0, found False"),
        (PositiveFloat, "1e-3", "expected a finite number above 0, found '1e-3'"),
        (PositiveFloat, 1j, "expected a finite number above 0, found 1j"),
        (NumBytes, "64 apples", "expected a size in bytes such as 64MiB, 1.5GB or 67108864, found '64 apples'"),
        (OPTIMIZER, "adamw", "expected one of sgd, adam, found 'adamw'; did you mean 'adam'?"),
        (OPTIMIZER, 3, "expected one of sgd, adam, found 3"),
        (OPTIMIZER, ["sgd"], "expected one of sgd, adam, found ['sgd']"),
        (EXACT, "some", "expected an integer of at least 0 or 'all', found 'some'"),
        (SHAPE, 3, "expected a list, and in it an integer of at least 0, found 3"),
        (bool, 1, "expected true or false, found 1"),
        (str, None, "expected a text, found None"),
        (str, {"a": 1}, "expected a text, found a table"),
        (str, [["x" * 90] * 3] * 2, "expected a text, found [['xxx"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(MisfitError) as caught:
        fitting(hint, value)
    text = str(caught.value)
    assert text == message or (len(message) < 50 and text.startswith(message[:40]))
    assert "\n" not in text
    assert len(text) < 250


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(MisfitError, match="expected a finite number above 0, found 1000"):
        fitting(PositiveFloat, 10**400)


def test_expectations_name_what_a_person_can_give() -> None:
    assert expectation(PositiveInt) == "an integer of at least 1"
    assert expectation(Seed) == "an integer of at least 0"
