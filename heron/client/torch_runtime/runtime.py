"""A client's network as PyTorch modules: the runtime for everything that has PyTorch."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from heron.arrays import Array
from heron.client.runtime import GroupsPass, Head, LayerGroup, Orders
from heron.client.torch_runtime.collector import Collector
from heron.client.torch_runtime.exact import TorchExactPart
from heron.client.torch_runtime.groups_pass import PassThroughGroups
from heron.client.torch_runtime.network import LocalNetwork, Parts
from heron.client.torch_runtime.placement import place_groups, place_orders
from heron.client.torch_runtime.surrogate import surrogate_loss
from heron.data import Batch
from heron.split.criterion import Criterion
from heron.tensors import as_tensor
from heron.wire.groups import Client
from heron.zo.flat_parameters import FlatParameters


class TorchRuntime:
    """A client's network, its passes and its parameters in the orders in which they learn.

    Args:
        split: the cut network, or a client's parts of it; used in place.
        criterion: mean loss over a batch.
        head: name of the part that the local loss is computed with; None for clients without a loss.
        orders: which modules learn how.
        client: the group `[client]`; update rule, kernel, micro-batch and checkpointing count here.
        lean: whether exact gradients are computed by formulas with few activations, where the client has the form for
            it; a layer group is a client with this set.

    Attributes:
        local: the network.
        theta: what learns from probes.
        exact: what learns by backpropagation.
        groups: the layer groups, where each learns from a loss of its own; then they have all that learns.
        groups_pass: one clean pass through them in micro-batches, where all learn exactly.

    Raises:
        ConfigError: if the order boundary is neither a number nor `all`.
        SplitError: if the client has no such boundary, or nothing to train.
    """

    def __init__(
        self,
        split: Parts,
        criterion: Criterion,
        *,
        head: Head | None,
        orders: Orders,
        client: Client,
        lean: bool = False,
    ) -> None:
        micro_batch, checkpointing = client.micro_batch or None, client.checkpointing
        self.local = LocalNetwork(split, criterion, head=head, micro_batch=micro_batch, checkpointing=checkpointing)
        self.theta: FlatParameters | None = None
        self.exact: TorchExactPart | None = None
        self.groups: tuple[LayerGroup, ...] = ()
        self.groups_pass: GroupsPass | None = None
        if orders.groups is not None:
            placed_groups = place_groups(self.local.module, orders)
            runtimes = [
                TorchRuntime(group.part, criterion, head=head, orders=group.orders, client=client, lean=True)
                for group in placed_groups
            ]
            self.groups = tuple(
                LayerGroup(runtime, group.names) for runtime, group in zip(runtimes, placed_groups, strict=True)
            )
            if micro_batch is not None and not orders.probes:
                parts = [runtime.exact for runtime in runtimes if runtime.exact is not None]
                self.groups_pass = partial(PassThroughGroups, self.local, parts)
            return
        placed = place_orders(self.local.module, orders)
        if orders.exact != 0:
            self.exact = TorchExactPart(
                self.local,
                client.optimizer,
                placed.exact,
                boundary=placed.boundary,
                probes=orders.probes,
                lean=lean,
            )
        if orders.probes and (orders.exact == 0 or placed.boundary is not None):
            self.theta = FlatParameters(self.local.module, placed.probed, kernel=client.kernel)

    def clean(self, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
        """Run a clean pass: smashed data, shape (B, ...), and the local loss, shape ()."""
        with torch.no_grad():
            return self.local.clean_pass(self.local.tensors_of(batch), seed)

    def smash(self, batch: Batch, seed: int) -> Tensor:
        """Compute smashed data, shape (B, ...)."""
        with torch.no_grad():
            return self.local.smash_pass(self.local.tensors_of(batch), seed)

    def loss(self, batch: Batch, seed: int) -> Tensor:
        """Compute the local loss, shape ()."""
        return self.local.loss_pass(self.local.tensors_of(batch), seed)

    def losses(self, batch: Batch, seed: int) -> Tensor:
        """Compute the local loss of every example, shape (B,).

        Raises:
            ConfigError: if the criterion gives a mean alone.
        """
        return self.local.losses_pass(self.local.tensors_of(batch), seed)

    def clean_losses(self, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
        """Compute smashed data, shape (B, ...), and the local loss of every example, shape (B,), in one pass.

        Raises:
            ConfigError: if the criterion gives a mean alone.
        """
        smashed = Collector(len(batch))
        losses = self.local.losses_pass(self.local.tensors_of(batch), seed, smashed.add)
        return smashed.take(), losses

    def anchor(self, delta: Array, smashed: Array) -> Tensor:
        """Compute <delta, z>, shape (), float64."""
        return surrogate_loss(as_tensor(delta), as_tensor(smashed))

    def surrogate(self, batch: Batch, seed: int, delta: Array) -> Tensor:
        """Compute <delta, f_c(x)> at the module's present parameters, shape (), float64."""
        tensors = self.local.tensors_of(batch)
        parts = torch.split(as_tensor(delta), self.local.micro_batch or len(batch))
        with self.local.randomness(seed):
            pieces = zip(self.local.pieces(tensors), parts, strict=True)
            sums = [surrogate_loss(part, self.local.smash(inputs)) for (inputs, _, _), part in pieces]
            return torch.stack(sums).sum()

    def receive(self, array: Array) -> Tensor:
        """Return a tensor on the network's device."""
        return as_tensor(array, self.local.device)

    def buffers(self) -> dict[str, Tensor]:
        """Return the buffers that the state dict holds, by name."""
        return self.local.buffers()

    def load_buffers_(self, model: Mapping[str, Array]) -> None:
        """Copy every buffer from a received model.

        Raises:
            MessageError: if one is absent or has another shape.
        """
        self.local.load_buffers_(model)

    def tensors(self) -> dict[str, Tensor]:
        """Return trainable parameters and buffers by name; the tensors themselves."""
        named = self.local.module.named_parameters()
        return {name: tensor.detach() for name, tensor in named if tensor.requires_grad} | self.buffers()

    def resident(self) -> dict[str, list[Tensor]]:
        """Return tensors held between steps: one copy of the parameters, buffers, state of the exact part's rule."""
        return {
            "parameters": list(self.local.module.parameters()),
            "buffers": list(self.buffers().values()),
            "optimizer_state": [] if self.exact is None else list(self.exact.state().values()),
        }
