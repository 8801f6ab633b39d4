"""Analysis of results and theory: comparisons of finished runs, scores of texts, step sizes. Never trains.

Read in this order: `quality`, `comparison`, `targets`, `generation`, `theory`.
"""

from heron.analysis.comparison import (
    RunGroup,
    gain_recovered,
    gains_recovered,
    mean_and_error,
    row_label,
    standard_error,
    summarise,
    value_text,
)
from heron.analysis.generation import TextScores, text_scores
from heron.analysis.quality import ACCURACY, PERPLEXITY, Quality, quality_of
from heron.analysis.targets import common_target, costs_to_target
from heron.analysis.theory import StepSizes, largest_client_rate, step_sizes

__all__ = [
    "ACCURACY",
    "PERPLEXITY",
    "Quality",
    "RunGroup",
    "StepSizes",
    "TextScores",
    "common_target",
    "costs_to_target",
    "gain_recovered",
    "gains_recovered",
    "largest_client_rate",
    "mean_and_error",
    "quality_of",
    "row_label",
    "standard_error",
    "step_sizes",
    "summarise",
    "text_scores",
    "value_text",
]
