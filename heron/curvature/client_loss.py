"""The loss that an algorithm's clients descend, with exact derivatives, as a function of one flat vector.

`d` parameters that clients train, `n` examples.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from heron.algorithms import Algorithm
from heron.client.torch_runtime.network import LocalNetwork, TensorBatch
from heron.errors import ConfigError
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.wire.groups import Settings


def without_dropout(module: nn.Module) -> None:
    """Put every Dropout into evaluation mode."""
    for part in module.modules():
        if "Dropout" in type(part).__name__:
            part.eval()


class ClientLoss:
    """Mean local loss over n examples in float64; the network is copied, Dropout is off, BatchNorm uses its batches.

    Clients without a loss of their own learn from the Main Server's: then it is the loss of the whole network, whose
    server part stays as it is.

    Args:
        split: the cut network at the parameters to look at; not changed.
        algorithm: which clients.
        settings: of the run; `client.batch_size` examples make a forward pass.
        criterion: mean loss over a batch.
        inputs: shape (n, ...).
        labels: shape (n, ...).

    Attributes:
        dimension: d.

    Raises:
        ConfigError: if the algorithm's clients train nothing, or each layer group on a loss of its own.
    """

    def __init__(
        self,
        split: SplitModel,
        algorithm: Algorithm,
        settings: Settings,
        criterion: Criterion,
        inputs: Tensor,
        labels: Tensor,
    ) -> None:
        orders = algorithm.orders(algorithm.learning(settings))
        if orders.exact == 0 and not orders.probes:
            raise ConfigError(
                f"expected an algorithm whose clients learn, found {algorithm.name}; choose another by --algorithm"
            )
        if orders.groups is not None:
            raise ConfigError(
                f"expected clients that descend one loss, found a loss for each layer group ({algorithm.name}); set "
                f"client.learning=zeroth_order, or choose another algorithm"
            )
        head = algorithm.head or "server"
        self._local = LocalNetwork(copy.deepcopy(split), criterion, head=head, micro_batch=settings.client.batch_size)
        without_dropout(self._local.module.double().train())
        trained = ("client.", f"{head}.") if algorithm.head is not None and orders.head else ("client.",)
        self._parameters = [
            parameter
            for name, parameter in self._local.module.named_parameters()
            if parameter.requires_grad and name.startswith(trained)
        ]
        device = self._local.device
        inputs = inputs.to(device)
        self._batch = TensorBatch(inputs.double() if inputs.is_floating_point() else inputs, labels.to(device))
        self.dimension = sum(parameter.numel() for parameter in self._parameters)

    def loss(self) -> float:
        """Compute the mean loss over all examples."""
        with torch.no_grad():
            return float(sum(piece for piece, _ in self._losses(self._batch)))

    def gradient(self) -> Tensor:
        """Compute the gradient over all examples, shape (d,), float64."""
        return self._summed([self._flat_gradient(piece, create_graph=False) for piece, _ in self._losses(self._batch)])

    def batch_gradients(self) -> Iterator[tuple[Tensor, int]]:
        """Yield the gradient of each full batch of `client.batch_size` examples, shape (d,), and the batch's size."""
        for piece, weight in self._losses(self._batch):
            yield self._flat_gradient(piece, create_graph=False) / weight, round(weight * len(self._batch))

    def hessian_product(self, vector: Tensor) -> Tensor:
        """Compute the product of the Hessian over all examples and a vector, shape (d,), by differentiating twice.

        Args:
            vector: shape (d,), float64.
        """
        products = []
        for piece, _ in self._losses(self._batch):
            gradient = self._flat_gradient(piece, create_graph=True)
            if not gradient.requires_grad:  # linear in all parameters
                continue
            found = torch.autograd.grad(gradient, self._parameters, vector, allow_unused=True)
            products.append(self._flat(found))
        return self._summed(products)

    def _losses(self, batch: TensorBatch) -> Iterator[tuple[Tensor, float]]:
        """Yield each batch's share of the loss, shape (), and its weight in the mean."""
        local = self._local
        assert local.head is not None  # given above
        with sdpa_kernel(SDPBackend.MATH):  # faster kernels of attention cannot be differentiated twice
            for inputs, labels, share in local.pieces(batch):
                weight = float(share)
                yield local.criterion(local.module[local.head](local.smash(inputs)), labels) * weight, weight

    def _flat_gradient(self, loss: Tensor, *, create_graph: bool) -> Tensor:
        found = torch.autograd.grad(loss, self._parameters, create_graph=create_graph, allow_unused=True)
        return self._flat(found)

    def _flat(self, tensors: tuple[Tensor | None, ...]) -> Tensor:
        pairs = zip(tensors, self._parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if t is None else t).reshape(-1) for t, p in pairs])

    def _summed(self, vectors: list[Tensor]) -> Tensor:
        if not vectors:
            return torch.zeros(self.dimension, dtype=torch.float64, device=self._local.device)
        return torch.stack(vectors).sum(dim=0)
