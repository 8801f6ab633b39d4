"""First-order update rules on NumPy arrays, for the exactly trained part; the formulas and state of `torch.optim`.

sgd        v <- v - eta g
momentum   b <- 0.9 b + g,  v <- v - eta b
adam       m <- 0.9 m + 0.1 g,  n <- 0.999 n + 0.001 g^2,
v <- v - eta / (1 - 0.9^t) m / (sqrt(n / (1 - 0.999^t)) + 1e-8)   (Kingma and Ba, ICLR 2015)
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, to_host
from heron.zo.rules import OptimizerName

_MOMENTUM = 0.9
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8

Arrays = dict[str, NDArray[Any]]


class ArrayDescent:
    """Update rule that changes arrays in place and keeps its own state.

    Args:
        parameters: trained arrays by name, float32.
        rule: `sgd`, `momentum` or `adam`.
    """

    def __init__(self, parameters: Arrays, rule: OptimizerName) -> None:
        self._parameters = parameters
        self._rule = rule
        self._entries: dict[str, Arrays] = {}

    def step(self, gradients: Mapping[str, NDArray[Any]], learning_rate: float) -> None:
        """Step every parameter.

        Args:
            gradients: by name, shapes of the parameters.
            learning_rate: step size, >= 0.
        """
        for name, parameter in self._parameters.items():
            gradient = gradients[name]
            if self._rule == "adam":
                parameter -= self._adam(name, gradient, learning_rate)
            elif self._rule == "momentum":
                parameter -= learning_rate * self._momentum(name, gradient)
            else:
                parameter -= learning_rate * gradient

    def state(self) -> Arrays:
        """Return the state by `parameter/entry`; not copies."""
        return {f"{name}/{entry}": array for name, held in self._entries.items() for entry, array in held.items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Continue from a result of `state`, or from nothing."""
        self._entries = {}
        for key, array in state.items():
            name, _, entry = key.rpartition("/")
            self._entries.setdefault(name, {})[entry] = np.array(to_host(array))

    def _adam(self, name: str, gradient: NDArray[Any], learning_rate: float) -> NDArray[Any]:
        if name not in self._entries:
            self._entries[name] = {
                "step": np.zeros((), np.float32),
                "exp_avg": np.zeros_like(gradient),
                "exp_avg_sq": np.zeros_like(gradient),
            }
        entry = self._entries[name]
        entry["step"] += 1
        steps = float(entry["step"])
        first, second = entry["exp_avg"], entry["exp_avg_sq"]
        first += (1 - _BETA1) * (gradient - first)
        second *= _BETA2
        second += (1 - _BETA2) * gradient * gradient
        scale = np.sqrt(second)
        scale /= math.sqrt(1 - _BETA2**steps)
        scale += _EPSILON
        change: NDArray[Any] = first / scale
        change *= learning_rate / (1 - _BETA1**steps)
        return change

    def _momentum(self, name: str, gradient: NDArray[Any]) -> NDArray[Any]:
        held = self._entries.get(name)
        if held is None:
            self._entries[name] = {"momentum_buffer": gradient.copy()}
            return gradient
        buffer = held["momentum_buffer"]
        buffer *= _MOMENTUM
        buffer += gradient
        return buffer
