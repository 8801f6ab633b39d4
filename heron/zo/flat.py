"""The trainable tensors of a module as views of one flat buffer, in two copies that probing cannot damage.

`theta` holds the parameters and is never perturbed; `work` is what the module computes with. A probe writes
`work = theta + mu * u`; an update changes `theta` and writes `work = theta`. Adding and then subtracting `mu * u`
in place would save the second copy, but changes about 4% of all float32 weights and leaves wreckage behind
when a loss raises.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from heron.errors import MessageError, SplitError
from heron.zo.kernel import Kernel
from heron.zo.kernels import KernelName, choose_kernel
from heron.zo.stream import Distribution

LossFunction = Callable[[], Tensor]
"""The scalar loss of a module at its present parameters, on one fixed batch."""


class FlatParameters:
    """Moves the trainable parameters of a module into one flat buffer.

    Afterwards the module's parameters are views of `work`; optimisers and `state_dict` go on working (`adopt_` takes
    over what they wrote). Frozen parameters stay where they are.

    Args:
        module: module with at least one trainable parameter, all of one floating dtype on one device.
        only: names of the parameters to take; all trainable ones by default.
        kernel: what passes over the parameters; `"auto"` takes the fastest that can.

    Attributes:
        theta: the parameters, shape (d,); never perturbed.
        work: what the module sees, shape (d,).

    Raises:
        SplitError: if there is nothing to train, or dtypes or devices are mixed.
    """

    def __init__(self, module: nn.Module, only: Collection[str] | None = None, *, kernel: KernelName = "auto") -> None:
        self.module = module
        self._kernel = kernel
        named = {
            name: tensor
            for name, tensor in module.named_parameters()
            if tensor.requires_grad and (only is None or name in only)
        }
        _check_uniform(named)
        self._shapes = {name: parameter.shape for name, parameter in named.items()}
        with torch.no_grad():
            self.work = torch.cat([parameter.reshape(-1) for parameter in named.values()])
            for parameter, view in zip(named.values(), self.split(self.work).values(), strict=True):
                parameter.data = view
        self.theta = self.work.clone()
        self._in_step = True
        self._parameters = list(named.values())
        self._versions = [parameter._version for parameter in self._parameters]

    def __len__(self) -> int:
        """Trainable dimension d."""
        return self.theta.numel()

    def named_tensors(self) -> dict[str, Tensor]:
        """Views of `theta` by parameter name, in the module's order."""
        return self.split(self.theta)

    def load_(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy named tensors into `theta` and `work`; every parameter, nothing else.

        Raises:
            MessageError: if a name or shape does not fit; nothing is changed then.
        """
        expected = {name: tuple(shape) for name, shape in self._shapes.items()}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if expected != found:
            odd = min(set(expected.items()) ^ set(found.items()))[0]
            raise MessageError(
                f"parameters do not fit at {odd!r}: expected shape {expected.get(odd)}, found {found.get(odd)}"
            )
        with torch.no_grad():
            for name, view in self.named_tensors().items():
                view.copy_(tensors[name])
            self.restore_(force=True)

    @torch.no_grad()
    def adopt_(self) -> None:
        """Write `work` into `theta` if others (`load_state_dict`, a first-order optimiser) wrote the parameters."""
        versions = [parameter._version for parameter in self._parameters]
        if versions != self._versions:
            self.theta.copy_(self.work)
            self._versions = versions

    @torch.no_grad()
    def perturb_(self, seed: int, scale: float, distribution: Distribution = "rademacher") -> None:
        """Write `theta + scale * direction(seed)` into `work`: one pass, `theta` is only read."""
        self._in_step = False
        scales_P = torch.full((1,), scale, dtype=self.theta.dtype, device=self.theta.device)
        self.kernel_for(distribution).add_directions_(self.work, self.theta, [seed], scales_P)

    @torch.no_grad()
    def restore_(self, *, force: bool = False) -> None:
        """Write `theta` into `work`, unless they are known to be equal."""
        if force or not self._in_step:
            self.work.copy_(self.theta)
            self._in_step = True

    def mark_restored(self) -> None:
        """Declare `work == theta`: said by an update that has written both in its own pass."""
        self._in_step = True

    @contextmanager
    def perturbed(self, seed: int, scale: float, distribution: Distribution = "rademacher") -> Iterator[None]:
        """Run the body at `theta + scale * direction(seed)`; `work` is `theta` again afterwards, come what may."""
        try:
            self.perturb_(seed, scale, distribution)
            yield
        finally:
            self.restore_()

    def kernel_for(self, distribution: Distribution) -> Kernel:
        """What passes over tensors like `theta` with directions of a distribution.

        Raises:
            ConfigError: if the kernel asked for is not installed or cannot do it.
        """
        return choose_kernel(self._kernel, self.theta, distribution)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of any flat tensor of d entries, by parameter name and in its shape."""
        pieces = torch.split(flat, [shape.numel() for shape in self._shapes.values()])
        return {name: piece.view(shape) for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True)}


def _check_uniform(named: Mapping[str, Tensor]) -> None:
    if not named:
        raise SplitError("expected trainable parameters, found none: set requires_grad on what should learn")
    first_name, first = next(iter(named.items()))
    if not first.dtype.is_floating_point:
        raise SplitError(f"expected floating parameters, found {first.dtype} in {first_name!r}")
    for name, parameter in named.items():
        if (parameter.dtype, parameter.device) != (first.dtype, first.device):
            raise SplitError(
                f"expected trainable parameters of one dtype on one device, found {first.dtype} on {first.device} in "
                f"{first_name!r} and {parameter.dtype} on {parameter.device} in {name!r}; convert or freeze one"
            )
