"""Slow, literal oracles: each formula once more, as printed, sharing no code with `heron`."""
