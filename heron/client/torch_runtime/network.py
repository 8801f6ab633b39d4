"""The network a client holds and its local loss, with or without micro-batches and activation checkpointing.

`B` examples of a batch, `b` of a micro-batch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from heron.arrays import Array
from heron.client.runtime import Head
from heron.client.torch_runtime.checkpointing import checkpointed
from heron.client.torch_runtime.collector import Collector
from heron.data import Batch
from heron.errors import MessageError
from heron.randomness import one_thread_at_a_time, seeded_randomness
from heron.seeds import StepKey
from heron.split import is_stochastic, persistent_buffers
from heron.split.criterion import Criterion, MeanLoss, scaled
from heron.tensors import as_tensor


@dataclass(frozen=True)
class TensorBatch:
    """Examples of one local step as tensors on the network's device.

    Attributes:
        inputs: shape (B, ...).
        labels: shape (B, ...).
        share: factor on the mean of their loss; below 1 where they are a part of a batch.
    """

    inputs: Tensor
    labels: Tensor
    share: float | Tensor = 1.0

    def __len__(self) -> int:
        """Return B."""
        return self.labels.shape[0]


class Parts(Protocol):
    """A cut network as far as a client holds it: the client part, and a head under its name."""

    @property
    def client(self) -> nn.Module:
        """f_c."""
        ...


class LocalNetwork:
    """The client part and, where the client has a local loss, the head that it is computed with.

    Args:
        split: the cut network, or a client's parts of it; they are used in place.
        criterion: mean loss over a batch.
        head: None for clients that hold the client part only.
        micro_batch: examples per forward pass; None computes the batch in one. The loss is the same up to rounding,
            because it is additive over examples.
        checkpointing: whether passes that build a graph keep few activations and compute the rest again.

    Attributes:
        module: the parts, under their names.
        criterion: mean loss over the labels that count.
        head: name of the head.
        uploads: whether there are smashed data to hand over; a client that holds the whole network has none.
        device: the network's device.
        backward_randomness: makes a context for backward passes, in which checkpointing draws Dropout masks again.
    """

    def __init__(
        self,
        split: Parts,
        criterion: Criterion,
        *,
        head: Head | None,
        micro_batch: int | None = None,
        checkpointing: bool = False,
    ) -> None:
        parts = {"client": split.client, "local_heads": getattr(split, "local_heads", None)}
        parts |= {head: getattr(split, head)} if head else {}
        self.module = nn.ModuleDict({name: part for name, part in parts.items() if part is not None})
        self.criterion = MeanLoss(criterion)
        self.micro_batch = micro_batch
        self.head = head
        self.uploads = head != "server"
        self.device = next(self.module.parameters()).device
        self._checkpointing = checkpointing
        self._stochastic = is_stochastic(self.module)
        self.backward_randomness = one_thread_at_a_time if checkpointing and self._stochastic else nullcontext

    def tensors_of(self, batch: Batch) -> TensorBatch:
        """Return a batch as tensors on the network's device."""
        return TensorBatch(as_tensor(batch.inputs, self.device), as_tensor(batch.labels, self.device))

    def smash(self, inputs: Tensor) -> Tensor:
        """Compute smashed data of b inputs: z = f_c(x), shape (b, ...)."""
        return self.run(self.module["client"], inputs)

    def head_loss(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """Compute the mean local loss over b examples, e.g. of l(f_a(z), y), shape ()."""
        assert self.head is not None  # asked for by clients that have one
        return self.criterion(self.run(self.module[self.head], smashed), labels)

    def pieces(self, batch: TensorBatch) -> Iterator[tuple[Tensor, Tensor, float | Tensor]]:
        """Yield micro-batches as (inputs, labels, weight of their mean in the batch's mean)."""
        inputs, labels, size = batch.inputs, batch.labels, self.micro_batch or len(batch)
        if size >= len(batch):
            yield inputs, labels, batch.share
            return
        for start in range(0, len(batch), size):
            piece = labels[start : start + size]
            yield inputs[start : start + size], piece, self.criterion.share(piece, labels)

    def clean_pass(
        self, batch: TensorBatch, seed: int, each_loss: Callable[[Tensor], None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one forward pass for both the upload and the clean loss.

        Args:
            batch: B examples.
            seed: seed of the Dropout masks.
            each_loss: called with every micro-batch's share of the loss before the next one is computed, so that a
                first-order client can backpropagate with one micro-batch's activations alive.

        Returns:
            Smashed data, detached, shape (B, ...), and the local loss, shape ().
        """
        smashed = Collector(len(batch))
        with self.randomness(seed):
            loss = self._loss(batch, smashed.add, each_loss)
        return smashed.take(), loss

    def loss_pass(self, batch: TensorBatch, seed: int, each_loss: Callable[[Tensor], None] | None = None) -> Tensor:
        """Compute the local loss at the present parameters, shape (); arguments as of `clean_pass`."""
        with self.randomness(seed):
            return self._loss(batch, each_loss=each_loss)

    @torch.no_grad()
    def losses_pass(
        self, batch: TensorBatch, seed: int, each_smashed: Callable[[Tensor], None] = lambda _: None
    ) -> Tensor:
        """Compute the local loss of every example at the present parameters, shape (B,).

        Args:
            batch: B examples.
            seed: seed of the Dropout masks.
            each_smashed: called with the smashed data of every micro-batch.

        Raises:
            ConfigError: if the criterion gives a mean alone.
        """
        assert self.head is not None  # asked for by clients that have one
        losses, head = [], self.module[self.head]
        with self.randomness(seed):
            for inputs, labels, _ in self.pieces(batch):
                smashed = self.smash(inputs)
                each_smashed(smashed)
                losses.append(self.criterion.losses(head(smashed), labels))
                del smashed
        return torch.cat(losses)

    def smash_pass(self, batch: TensorBatch, seed: int) -> Tensor:
        """Compute the smashed data of a batch, detached, without a loss."""
        smashed = Collector(len(batch))
        with self.randomness(seed):
            for inputs, _, _ in self.pieces(batch):
                smashed.add(self.smash(inputs))
        return smashed.take()

    def graph_pass(self, batch: TensorBatch, seed: int) -> tuple[list[Tensor], GradientEdge]:
        """Compute smashed data of the whole batch, detached, alone in a list, and the edge that their gradient enters.

        The edge does not hold the smashed data: once popped and handed over, its room is free.
        """
        with torch.enable_grad(), self.randomness(seed):
            smashed = self.smash(as_tensor(batch.inputs))
        return [smashed.detach()], get_gradient_edge(smashed)

    def randomness(self, seed: int) -> AbstractContextManager[None]:
        """Return a context whose Dropout masks are a function of the seed: every pass of a step draws the same."""
        return seeded_randomness(seed, self.device) if self._stochastic else nullcontext()

    def randomness_at(self, key: StepKey, piece: int) -> AbstractContextManager[None]:
        """Return the same for a micro-batch of a step, by the step's place."""
        return self.randomness(key.seed("dropout", piece)) if self._stochastic else nullcontext()

    def buffers(self) -> dict[str, Tensor]:
        """Return the buffers that the state dict holds, by name; they travel and are averaged."""
        return persistent_buffers(self.module)

    @torch.no_grad()
    def load_buffers_(self, model: Mapping[str, Array]) -> None:
        """Copy every buffer from a received model.

        Raises:
            MessageError: if one is absent or has another shape.
        """
        for name, buffer in self.buffers().items():
            received = model.get(name)
            found = None if received is None else tuple(received.shape)
            if received is None or found != tuple(buffer.shape):
                raise MessageError(f"buffer {name!r}: expected shape {tuple(buffer.shape)}, found {found}")
            buffer.copy_(as_tensor(received))

    def run(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """Call a part; with activation checkpointing where a graph is built and it is asked for."""
        if self._checkpointing and torch.is_grad_enabled():
            return checkpointed(module, inputs)
        outputs: Tensor = module(inputs)
        return outputs

    def _loss(
        self,
        batch: TensorBatch,
        each_smashed: Callable[[Tensor], None] | None = None,
        each_loss: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        total: Tensor | None = None
        for inputs, labels, share in self.pieces(batch):
            smashed = self.smash(inputs)
            loss = scaled(self.head_loss(smashed, labels), share)
            if each_smashed is not None:
                each_smashed(smashed)
            del smashed
            if each_loss is not None:
                each_loss(loss)
                loss = loss.detach()
            total = loss if total is None else total + loss
        assert total is not None  # a batch holds at least one example
        return total
