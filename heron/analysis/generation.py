"""Scores of generated texts against references: BLEU and ROUGE-L (extra `language`).

BLEU: Papineni, Roukos, Ward, Zhu, "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002, as
sacrebleu computes it (Post, WMT 2018). ROUGE-L: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.
"""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from heron.errors import DataError, MissingExtraError


@dataclass(frozen=True)
class TextScores:
    """Scores of a list of texts.

    Attributes:
        bleu: score of the whole list, in [0, 100]; words by sacrebleu's default tokeniser `13a`, case-sensitive.
        rouge_l: mean F1 of the longest common subsequence, in [0, 1]; lower case, words of a-z and 0-9, no stemming.
    """

    bleu: float
    rouge_l: float


def text_scores(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> TextScores:
    """Compare every text with its references; texts may have different numbers of references.

    BLEU counts an n-gram as often as it occurs in the reference that contains it most often, and compares a text's
    length with the reference of the nearest length. ROUGE-L uses the best reference. The order of references does not
    matter.

    Args:
        hypotheses: generated texts, at least one.
        references: at least one good text for each of them, in the same order.

    Returns:
        BLEU and ROUGE-L.

    Raises:
        DataError: if the numbers of texts and lists differ, or a list is empty.
        MissingExtraError: if sacrebleu or rouge_score is not installed.

    Examples:
        `text_scores(["a cat sat there"], [["a cat sat there", "there sat a cat"]])` is `TextScores(100.0, 1.0)`, up to
        rounding.
    """
    _check(hypotheses, references)
    return TextScores(_bleu(hypotheses, references), _rouge_l(hypotheses, references))


def _bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "language") from error
    # The n-th stream contains every text's n-th reference. None means no reference; "" would be one of length 0.
    streams = list(itertools.zip_longest(*references))
    return float(BLEU().corpus_score(hypotheses, streams).score)


def _rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError("rouge-score", "language") from error
    scorer = RougeScorer(["rougeL"])
    return statistics.fmean(
        max(scorer.score(reference, hypothesis)["rougeL"].fmeasure for reference in of_hypothesis)
        for hypothesis, of_hypothesis in zip(hypotheses, references, strict=True)
    )


def _check(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not hypotheses or len(hypotheses) != len(references):
        raise DataError(
            f"expected at least one text and the same number of lists of references, found {len(hypotheses)} and "
            f"{len(references)}; give one list per text"
        )
    for position, of_hypothesis in enumerate(references):
        if isinstance(of_hypothesis, str) or not of_hypothesis:
            raise DataError(
                f"expected a list of at least one reference for text {position}, found {of_hypothesis!r:.60}; "
                "put a single reference into a list"
            )
