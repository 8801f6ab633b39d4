"""The trainable tensors of a torch module as views of one flat buffer."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from heron.arrays import Array
from heron.errors import SplitError
from heron.tensors import as_tensor
from heron.zo.buffers import preserved_buffers
from heron.zo.flat import FlatArrays, LossFunction
from heron.zo.forward_mode import exact_projected_gradients
from heron.zo.kernels import KernelName
from heron.zo.stream import Distribution


class FlatParameters(FlatArrays[Tensor]):
    """Moves the trainable parameters of a module into one flat buffer.

    Afterwards the module's parameters are views of `work`; optimisers and `state_dict` continue to work (`adopt_`
    takes over what they wrote). Frozen parameters stay where they are.

    Args:
        module: module with at least one trainable parameter, all of one floating dtype on one device.
        only: names of the parameters to take; all trainable ones by default.
        kernel: the kernel that passes over the parameters; `"auto"` takes the fastest that can.

    Attributes:
        theta: the parameters, shape (d,); never perturbed.
        work: what the module sees, shape (d,).
        module: the module.

    Raises:
        SplitError: if there is nothing to train, or dtypes or devices are mixed.
    """

    def __init__(self, module: nn.Module, only: Collection[str] | None = None, *, kernel: KernelName = "auto") -> None:
        named = {
            name: parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad and (only is None or name in only)
        }
        if not named:
            raise SplitError("expected trainable parameters, found none: set requires_grad on what should learn")
        super().__init__({name: parameter.detach() for name, parameter in named.items()}, kernel=kernel)
        self.module = module
        for parameter, view in zip(named.values(), self.split(self.work).values(), strict=True):
            parameter.data = view
        self._parameters = list(named.values())
        self._versions = [parameter._version for parameter in self._parameters]

    @torch.no_grad()
    def adopt_(self) -> None:
        """Write `work` into `theta` if others (`load_state_dict`, a first-order optimiser) wrote the parameters."""
        versions = [parameter._version for parameter in self._parameters]
        if versions != self._versions:
            self.theta.copy_(self.work)
            self._versions = versions

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Record no graph, and put the module's buffers back afterwards: running statistics follow the clean pass."""
        with torch.no_grad(), preserved_buffers(self.module):
            yield

    def exact_projected_gradients(
        self, loss_fn: LossFunction, seeds: Sequence[int], distribution: Distribution
    ) -> Tensor:
        """Directional derivatives of the loss, see `forward_mode`."""
        return exact_projected_gradients(self, loss_fn, seeds, distribution)

    @torch.no_grad()
    def _fill_(self, tensors: Mapping[str, Array]) -> None:
        for name, view in self.named_tensors().items():
            view.copy_(as_tensor(tensors[name]))
