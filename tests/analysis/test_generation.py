"""BLEU and ROUGE-L against values that can be derived by hand."""

import itertools
import math
import sys

import pytest

from heron.analysis import text_scores
from heron.errors import DataError, MissingExtraError

TEXT = "the old inn by the river serves fish"


def test_equal_texts_are_perfect_and_disjoint_ones_worthless():
    scores = text_scores([TEXT, "a red boat lies there"], [[TEXT], ["a red boat lies there"]])
    assert (scores.bleu, scores.rouge_l) == (pytest.approx(100), pytest.approx(1))
    scores = text_scores([TEXT], [["no word in common here"]])
    assert (scores.bleu, scores.rouge_l) == (0, 0)


def test_one_wrong_word_in_eight():
    # n-grams in common: 7 of 8, 6 of 7, 5 of 6, 4 of 5 (all that do not hold the last word); equal lengths.
    # Longest common subsequence: 7 words of 8 on both sides.
    scores = text_scores([TEXT.replace("fish", "soup")], [[TEXT]])
    assert scores.bleu == pytest.approx(100 * (7 / 8 * 6 / 7 * 5 / 6 * 4 / 5) ** (1 / 4))
    assert scores.rouge_l == pytest.approx(7 / 8)


def test_a_short_text_pays_for_its_brevity():
    # All n-grams of the first six words are there: exp(1 - 8 / 6). Precision 1, recall 6 / 8.
    scores = text_scores([TEXT.removesuffix(" serves fish")], [[TEXT]])
    assert scores.bleu == pytest.approx(100 * math.exp(1 - 8 / 6))
    assert scores.rouge_l == pytest.approx(2 * 1 * 0.75 / 1.75)


def test_the_best_of_several_references_in_any_order():
    references = [TEXT, "nothing alike", "the old inn"]
    for order in itertools.permutations(references):
        scores = text_scores([TEXT], [list(order)])
        assert (scores.bleu, scores.rouge_l) == (pytest.approx(100), pytest.approx(1))


def test_texts_may_have_different_numbers_of_references():
    # The second text has no other reference than a long one. An empty reference in its place would be the nearer one in
    # length (0 to 4, not 16), and nothing would be paid: lengths are 4 + 4 beside 4 + 16.
    long = "one two three four " + " ".join(["more"] * 12)
    scores = text_scores(["a b c d", "one two three four"], [["a b c d", "e f g h"], [long]])
    assert scores.bleu == pytest.approx(100 * math.exp(1 - 20 / 8))
    assert scores.rouge_l == pytest.approx((1 + 2 * 1 * (4 / 16) / (1 + 4 / 16)) / 2)


@pytest.mark.parametrize(
    ("hypotheses", "references"),
    [([], []), (["a"], []), (["a", "b"], [["a"]]), (["a"], [[]]), (["a", "b"], [["a"], "b"])],
)
def test_lists_that_do_not_fit_are_one_line(hypotheses, references):
    with pytest.raises(DataError, match=r"^expected [^\n]*$"):
        text_scores(hypotheses, references)


@pytest.mark.parametrize("library", ["sacrebleu.metrics.bleu", "rouge_score.rouge_scorer"])
def test_without_the_extra_it_says_what_to_install(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'heron-sfl\[language\]'"):
        text_scores([TEXT], [[TEXT]])
