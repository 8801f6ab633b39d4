"""What results say: comparisons of finished runs. Reads results, never trains."""

from heron.analysis.comparison import gain_recovered, summarise

__all__ = ["gain_recovered", "summarise"]
