"""What results and theory say: comparisons of finished runs, step sizes of the theorems. Never trains."""

from heron.analysis.comparison import RunGroup, gain_recovered, row_label, standard_error, summarise, value_text
from heron.analysis.theory import StepSizes, largest_client_rate, step_sizes

__all__ = [
    "RunGroup",
    "StepSizes",
    "gain_recovered",
    "largest_client_rate",
    "row_label",
    "standard_error",
    "step_sizes",
    "summarise",
    "value_text",
]
