"""What a piece of work costs: peak memory by category, FLOPs, wall time, forward passes."""

from heron.metering.compute import ForwardCount, count_forwards, measure_flops, measure_seconds
from heron.metering.memory import CATEGORIES, MemoryProfile, measure_memory

__all__ = [
    "CATEGORIES",
    "ForwardCount",
    "MemoryProfile",
    "count_forwards",
    "measure_flops",
    "measure_memory",
    "measure_seconds",
]
