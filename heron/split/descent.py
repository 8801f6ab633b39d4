"""First-order update rules for parameters trained by backpropagation, with torch's own functions and state.

`torch.optim.Optimizer` would do the same, but making one imports torch's compiler, which a device that is too small
for backpropagation cannot afford (docs/decisions/0033-functional-optimizers.md). Bits equal those of `torch.optim`.
Parameters narrower than float32 take their steps, and have their state, in float32 and are rounded once a step: in
float16 the epsilon of Adam would be 0.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from heron.arrays import arithmetic_dtype
from heron.zo.rules import OptimizerName

_MOMENTUM = 0.9
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Descent:
    """Update rule that steps along the gradients that backpropagation left, and keeps its own state.

    Args:
        parameters: trained parameters by name; changed in place.
        rule: `sgd`, `momentum` (heavy ball, 0.9) or `adam` (Kingma and Ba, ICLR 2015), as in `torch.optim`.
    """

    def __init__(self, parameters: Mapping[str, Tensor], rule: OptimizerName) -> None:
        self._parameters = dict(parameters)
        self._rule = rule
        self._entries: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Step every parameter that has a gradient, and release the gradients.

        Args:
            learning_rate: step size, >= 0.
        """
        moved = {name: tensor for name, tensor in self._parameters.items() if tensor.grad is not None}
        parameters = list(moved.values())
        # Those of embeddings may be sparse, which not every rule takes; the state would be dense anyway.
        gradients = [_wide(tensor.grad.to_dense()) for tensor in parameters if tensor.grad is not None]
        wide = [_wide(parameter) for parameter in parameters]
        if self._rule == "adam":
            self._adam(list(moved), wide, gradients, learning_rate)
        else:
            self._sgd(list(moved), wide, gradients, learning_rate)
        for parameter, stepped in zip(parameters, wide, strict=True):
            if stepped is not parameter:
                parameter.copy_(stepped)
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """State of the rule, by `parameter/entry`; not copies."""
        return {
            f"{name}/{entry}": tensor for name, entries in self._entries.items() for entry, tensor in entries.items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a result of `state`, or from nothing; tensors on the parameters' device are not copied."""
        self._entries = {}
        for key, tensor in state.items():
            name, _, entry = key.rpartition("/")
            # Step counters are on the host.
            device = torch.device("cpu") if entry == "step" else self._parameters[name].device
            self._entries.setdefault(name, {})[entry] = _wide(tensor.to(device))

    def _adam(self, names: list[str], parameters: list[Tensor], gradients: list[Tensor], learning_rate: float) -> None:
        for name, parameter in zip(names, parameters, strict=True):
            if name not in self._entries:
                self._entries[name] = {
                    # Of a known value even where tensors are fake.
                    "step": torch.tensor(0.0, device="cpu"),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        entries = [self._entries[name] for name in names]
        adam(
            parameters,
            gradients,
            [entry["exp_avg"] for entry in entries],
            [entry["exp_avg_sq"] for entry in entries],
            [],
            [entry["step"] for entry in entries],
            amsgrad=False,
            beta1=_BETA1,
            beta2=_BETA2,
            lr=learning_rate,
            weight_decay=0.0,
            eps=_EPSILON,
            maximize=False,
        )

    def _sgd(self, names: list[str], parameters: list[Tensor], gradients: list[Tensor], learning_rate: float) -> None:
        buffers = [self._entries.get(name, {}).get("momentum_buffer") for name in names]
        sgd(
            parameters,
            gradients,
            buffers,
            lr=learning_rate,
            momentum=_MOMENTUM if self._rule == "momentum" else 0.0,
            weight_decay=0.0,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        # A buffer is made by the first step.
        for name, buffer in zip(names, buffers, strict=True):
            if buffer is not None:
                self._entries[name] = {"momentum_buffer": buffer}


def _wide(tensor: Tensor) -> Tensor:
    """Return the tensor itself, or a copy in float32 of a narrower one."""
    return tensor.to(arithmetic_dtype(tensor))
