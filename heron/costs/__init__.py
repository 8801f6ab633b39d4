"""Costs of a client step: memory, operations, bytes, and the time of a round on simulated devices."""
