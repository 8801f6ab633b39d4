"""What results and theory say: comparisons of finished runs, step sizes of the theorems. Never trains."""

from heron.analysis.comparison import gain_recovered, summarise
from heron.analysis.theory import StepSizes, largest_client_rate, step_sizes

__all__ = ["StepSizes", "gain_recovered", "largest_client_rate", "step_sizes", "summarise"]
