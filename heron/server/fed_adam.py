"""FedAdam: the Fed Server treats the clients' averaged update as a gradient and takes a step of Adam with it.

"Adaptive Federated Optimization", Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, ICLR 2021
(arXiv 2003.00295), Algorithm 2. With x_t the model that was broadcast and x_bar_t the mean of the replies,

    Delta_t = x_bar_t - x_t
    m_t     = beta1 m_{t-1} + (1 - beta1) Delta_t                m_{-1} = 0
    v_t     = beta2 v_{t-1} + (1 - beta2) Delta_t^2              v_{-1} = tau^2
    x_{t+1} = x_t + eta m_t / (sqrt(v_t) + tau)

There are no bias corrections. The moments exist on the server only, so clients need no state that outlives a round.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from heron.errors import ConfigError


@dataclass(frozen=True)
class FedAdam:
    """A pure function of broadcast model, mean and moments; every product, sum and root is rounded separately.

    Attributes:
        learning_rate: eta, > 0; a coordinate moves by about this much per round.
        beta1: decay of the first moment, in [0, 1).
        beta2: decay of the second moment, in [0, 1).
        epsilon: tau, > 0, the degree of adaptivity: updates much smaller than tau move their coordinate in proportion.

    Raises:
        ConfigError: if a value is out of range.
    """

    learning_rate: float = 1e-2
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        for name, value in (("learning_rate", self.learning_rate), ("epsilon", self.epsilon)):
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"expected a Fed Server {name} > 0, found {value}")
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not 0 <= value < 1:
                raise ConfigError(f"expected a Fed Server {name} in [0, 1), found {value}")

    @torch.no_grad()
    def step(
        self, broadcast: Mapping[str, Tensor], mean: Mapping[str, Tensor], moments: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take one round's step.

        Args:
            broadcast: x_t by name; may contain more than `mean`.
            mean: x_bar_t by name, floating parameters only.
            moments: m_{t-1} and v_{t-1} as returned by the last step; empty before the first.

        Returns:
            x_{t+1} by name, and the new moments under `first/NAME` and `second/NAME`. No argument is changed.
        """
        model: dict[str, Tensor] = {}
        updated: dict[str, Tensor] = {}
        for name, average in mean.items():
            delta = average - broadcast[name]
            before = moments.get(f"first/{name}")
            first = torch.zeros_like(delta) if before is None else before * self.beta1
            first.add_(delta * (1.0 - self.beta1))
            before = moments.get(f"second/{name}")
            second = (torch.full_like(delta, self.epsilon**2) if before is None else before) * self.beta2
            second.add_((delta * delta).mul_(1.0 - self.beta2))
            # Vectorised float32 roots are not rounded correctly on every CPU, and a replay may run on another one.
            root = torch.sqrt(second.double()).to(second.dtype)
            model[name] = broadcast[name] + (first * self.learning_rate).div_(root.add_(self.epsilon))
            updated |= {f"first/{name}": first, f"second/{name}": second}
        return model, updated
