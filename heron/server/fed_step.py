"""A step towards the mean: the Fed Server goes a share of the way from the model to the mean of the replies."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FedStep:
    """x_{t+1} = x_t + eta (x_bar_t - x_t), SGD with the averaged update as its gradient (Reddi et al., ICLR 2021).

    Attributes:
        learning_rate: eta, > 0; 1 is the mean itself, up to rounding.
    """

    learning_rate: float

    @torch.no_grad()
    def step(
        self, broadcast: Mapping[str, Tensor], mean: Mapping[str, Tensor], moments: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take one round's step.

        Args:
            broadcast: x_t by name; may contain more than `mean`.
            mean: x_bar_t by name, floating parameters only.
            moments: none.

        Returns:
            x_{t+1} by name, as new tensors, and no moments.
        """
        del moments
        return {name: broadcast[name] + self.learning_rate * (new - broadcast[name]) for name, new in mean.items()}, {}
