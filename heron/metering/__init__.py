"""Costs of a piece of work: peak memory by category, FLOPs, wall time, forward passes."""

from heron.faces import extra_named

with extra_named():
    from heron.metering.compute import ForwardCount, count_forwards, measure_flops, measure_seconds
    from heron.metering.memory import MemoryProfile, measure_memory
    from heron.metering.storages import CATEGORIES

__all__ = [
    "CATEGORIES",
    "ForwardCount",
    "MemoryProfile",
    "count_forwards",
    "measure_flops",
    "measure_memory",
    "measure_seconds",
]
