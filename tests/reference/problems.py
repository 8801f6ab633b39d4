"""Losses whose gradients are known, and a small network with every kind of state a probe could damage."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Quadratic(nn.Module):
    """`l(x) = x^T H x / 2 + b^T x` in float64, gradient `H x + b`; `curvature=0` makes it linear."""

    def __init__(self, d: int, seed: int = 0, curvature: float = 1.0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        root = rng.standard_normal((d, d))
        self.hessian = torch.from_numpy(curvature * (root @ root.T) / d)
        self.slope = torch.from_numpy(rng.standard_normal(d))
        self.x = nn.Parameter(torch.from_numpy(rng.standard_normal(d)))

    def forward(self) -> Tensor:
        return 0.5 * self.x @ self.hessian @ self.x + self.slope @ self.x

    def numpy_loss(self, x: np.ndarray) -> float:
        return float(0.5 * x @ self.hessian.numpy() @ x + self.slope.numpy() @ x)

    def gradient(self) -> Tensor:
        return self.hessian @ self.x.detach() + self.slope


def conv_net(dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[nn.Module, Callable[[], Tensor]]:
    """A convolution, BatchNorm in training mode and a linear layer, with the loss of one fixed batch of 6."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 3 * 3, 3)).to(
            dtype
        )
        inputs, labels = torch.randn(6, 2, 5, 5, dtype=dtype), torch.randint(3, (6,))
    wide = torch.promote_types(dtype, torch.float32)  # a narrower loss would round off what probes measure
    return net, lambda: cross_entropy(net(inputs).to(wide), labels)


def bits(tensor: Tensor) -> Tensor:
    """Bytes of a tensor: unlike `==` they distinguish -0 from 0, and one NaN from another."""
    return tensor.detach().contiguous().view(-1).view(torch.uint8).clone()


def state_bits(module: nn.Module) -> dict[str, Tensor]:
    """Bits of all parameters and buffers by name."""
    return {name: bits(tensor) for name, tensor in [*module.named_parameters(), *module.named_buffers()]}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
