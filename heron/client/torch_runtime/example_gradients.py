"""Gradients of single examples of a client's local loss, by torch's function transforms (DP-SGD, Abadi et al. 2016).

`B` examples of a batch, `D` values of all trained parameters.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from heron.client.torch_runtime.network import LocalNetwork, TensorBatch


class _LossOfOne(nn.Module):
    """The local loss of one example, as a module whose parameters can be replaced."""

    def __init__(self, local: LocalNetwork) -> None:
        super().__init__()
        self.module = local.module
        self._local = local

    def forward(self, inputs: Tensor, label: Tensor) -> Tensor:
        """Compute the loss, shape ()."""
        head = self._local.head
        assert head is not None  # asked for by clients that have one
        outputs = self.module[head](self.module["client"](inputs[None]))
        return self._local.criterion.losses(outputs, label[None]).sum()


def example_gradients(local: LocalNetwork, parameters: Mapping[str, Tensor], batch: TensorBatch) -> Iterator[Tensor]:
    """Compute the gradient of every example; B x D values are alive, or those of a micro-batch.

    Args:
        local: the client's network and loss.
        parameters: the trained ones, by their names in it.
        batch: B examples, at least 1.

    Yields:
        Gradients of the examples of a micro-batch, shape (b, D), parameters in their order.
    """
    loss = _LossOfOne(local)
    trained = {f"module.{name}": tensor.detach() for name, tensor in parameters.items()}

    def of_one(values: dict[str, Tensor], inputs: Tensor, label: Tensor) -> Tensor:
        outcome: Tensor = functional_call(loss, values, (inputs, label))
        return outcome

    each = vmap(grad(of_one), in_dims=(None, 0, 0))
    for inputs, labels, _ in local.pieces(batch):
        found = each(trained, inputs, labels)
        yield torch.cat([found[name].flatten(1) for name in trained], 1)
