"""Differential privacy of what clients learn: a device's secret, the mechanism of a step, and its account.

NumPy alone, but for the accountant (extra `privacy`). Read in this order: `secret`, `mechanism`, `accounting`.
"""

from heron.privacy.accounting import Releases, hidden_epsilon, noise_for, seen_epsilon
from heron.privacy.mechanism import VectorMechanism
from heron.privacy.secret import Secret

__all__ = ["Releases", "Secret", "VectorMechanism", "hidden_epsilon", "noise_for", "seen_epsilon"]
