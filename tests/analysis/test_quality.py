"""The measures: which way is better, and how people read them."""

import math

import pytest

from heron.analysis import ACCURACY, PERPLEXITY, quality_of
from heron.errors import ReportError


@pytest.mark.parametrize(
    ("quality", "value", "error", "text"),
    [
        (ACCURACY, None, None, "-"),
        (ACCURACY, 0.7912, 0.02, "79.1 ± 2.0"),
        (PERPLEXITY, 34.2149, None, "34.21"),
        (PERPLEXITY, 3.0, 0.055, "3.00 ± 0.06"),
        (PERPLEXITY, 1.23e300, None, "1.23e+300"),
    ],
)
def test_text(quality, value, error, text):
    assert quality.text(value, error) == text


def test_names():
    assert (ACCURACY.key(), ACCURACY.key("validation")) == ("test_accuracy", "validation_accuracy")
    assert (ACCURACY.heading(), PERPLEXITY.heading("validation")) == ("test accuracy %", "validation perplexity")
    assert (ACCURACY.axis, PERPLEXITY.axis) == ("test accuracy (%)", "test perplexity (logarithmic)")


def test_better_is_higher_or_lower_and_unknown_is_worst():
    values = [30.0, None, 20.0]
    assert sorted(values, key=PERPLEXITY.goodness) == [None, 30.0, 20.0]
    assert sorted(values, key=ACCURACY.goodness) == [None, 20.0, 30.0]


@pytest.mark.parametrize("value", [None, math.inf, math.nan, "3"])
def test_values_that_are_no_numbers_are_unknown(value):
    assert PERPLEXITY.of({"test_perplexity": value}) is None


def test_rows_say_what_they_are_judged_by():
    assert quality_of([]) is ACCURACY
    assert quality_of([{"round": 1}, {"round": 2, "test_perplexity": None}]) is PERPLEXITY
    assert quality_of([{"validation_perplexity": 3.0}]) is PERPLEXITY
    with pytest.raises(ReportError, match="one measure, found accuracy and perplexity") as error:
        quality_of([{"test_accuracy": 0.5}, {"test_perplexity": 3.0}])
    assert "\n" not in str(error.value)
