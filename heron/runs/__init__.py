"""Runs: the loop over rounds, the run directory, checkpoints and evaluation."""
