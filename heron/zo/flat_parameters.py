"""The trainable tensors of a torch module as views of one flat buffer."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.nn.parameter import is_lazy

from heron.arrays import Array
from heron.errors import SplitError
from heron.tensors import as_tensor
from heron.zo.buffers import preserved_buffers
from heron.zo.flat import FlatArrays, LossFunction
from heron.zo.forward_mode import exact_projected_gradients
from heron.zo.kernels import KernelName
from heron.zo.stream import Distribution

# Comparing so many entries costs nothing beside a forward pass.
_FEW_ENTRIES = 1 << 16
_SAMPLED_ENTRIES = 1 << 12


class FlatParameters(FlatArrays[Tensor]):
    """Moves the trainable parameters of a module into one flat buffer.

    Afterwards the module's parameters are views of `work`; optimisers and `state_dict` continue to work (`adopt_`
    takes over what others wrote). Frozen parameters stay where they are. `release_` gives every parameter storage of
    its own again.

    Args:
        module: module with at least one trainable parameter, all of one floating dtype on one device.
        only: names of the parameters to take; all trainable ones by default.
        kernel: the kernel that passes over the parameters; `"auto"` takes the fastest that can.

    Attributes:
        theta: the parameters, shape (d,); never perturbed.
        work: what the module sees, shape (d,).
        module: the module.

    Raises:
        SplitError: if there is nothing to train, a parameter is uninitialised or shares its memory with another tensor
            of the module, or dtypes or devices are mixed.
    """

    def __init__(self, module: nn.Module, only: Collection[str] | None = None, *, kernel: KernelName = "auto") -> None:
        self.module = module
        self._only = only
        parameters = self._trainable()
        if not parameters:
            raise SplitError("expected trainable parameters, found none: set requires_grad on what should learn")
        _check_memory(module, parameters)
        super().__init__({name: parameter.detach() for name, parameter in parameters.items()}, kernel=kernel)
        for parameter, view in zip(parameters.values(), self.split(self.work).values(), strict=True):
            parameter.data = view
        self._versions = self.versions()
        self._num_adoptions = 0
        self._has_uncounted_writes = False

    @torch.no_grad()
    def adopt_(self) -> None:
        """Take over the module's parameters as others have left them: other values, tensors or storage.

        Values may have been written by `load_state_dict`, by another optimiser or through `.data`. Tensors may have
        been replaced, e.g. by `load_state_dict(assign=True)` or by a second `FlatParameters` of the module; they
        become views of `work` again.

        torch counts writes, but not those through `.data` or NumPy. For these all entries are compared at calls number
        1, 2, 4, 8 and so on, and at every call once such a write was found or if there are few entries; else a sample
        of them is, because comparing 68 M entries takes as long as a probe's pass.

        Raises:
            SplitError: if parameters have been added, removed, frozen, unfrozen or converted since, or share memory.
        """
        parameters = self._trainable()
        self._check_unchanged(parameters)
        self.restore_()  # after a probe that was not left
        moved = [
            (parameter, view)
            for parameter, view in zip(parameters.values(), self.split(self.work).values(), strict=True)
            if parameter.data_ptr() != view.data_ptr() or parameter.stride() != view.stride()
        ]
        if moved:
            _check_memory(self.module, parameters)
        for parameter, values in [(parameter, parameter.detach()) for parameter, _ in moved]:
            parameter.data = values.clone()  # two may have changed places
        for parameter, view in moved:
            view.copy_(parameter)
            parameter.data = view
        if self._is_written(parameters, moved=bool(moved)):
            self.theta.copy_(self.work)
            self._note_written()

    @torch.no_grad()
    def release_(self) -> None:
        """Give every parameter storage of its own, with its present value; `adopt_` takes them over again."""
        self.restore_()
        for name, parameter in self.module.named_parameters():
            if name in self._shapes:
                parameter.data = parameter.detach().clone()

    def versions(self) -> dict[str, int]:
        """Return how often each parameter has been written in place through the module, by name."""
        return {name: parameter._version for name, parameter in self._trainable().items()}

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

    def _is_written(self, parameters: Mapping[str, Tensor], *, moved: bool) -> bool:
        """Return whether others have written `work` since the last call, see `adopt_`."""
        versions = {name: parameter._version for name, parameter in parameters.items()}
        counted, self._versions = moved or versions != self._versions, versions
        self._num_adoptions += 1
        is_power_of_two = self._num_adoptions & (self._num_adoptions - 1) == 0
        if not (counted or self._has_uncounted_writes or is_power_of_two or len(self) <= _FEW_ENTRIES):
            every = len(self) // _SAMPLED_ENTRIES
            if torch.equal(self.theta[::every], self.work[::every]):
                return False
        is_other = not torch.equal(self.theta, self.work)
        self._has_uncounted_writes |= is_other and not counted
        return is_other

    def _note_written(self) -> None:
        """Let autocast convert the weights anew: within a context it keeps those that it has converted."""
        torch.clear_autocast_cache()

    def _trainable(self) -> dict[str, nn.Parameter]:
        return {
            name: parameter
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad and (self._only is None or name in self._only)
        }

    def _check_unchanged(self, parameters: Mapping[str, Tensor]) -> None:
        advice = "convert, freeze and share parameters before they are taken, or take them anew"
        expected = self.split(self.theta)
        if expected.keys() != parameters.keys():
            odd = min(expected.keys() ^ parameters.keys())
            change = "new or unfrozen" if odd in parameters else "removed, shared or frozen"
            raise SplitError(f"expected the trainable parameters that were taken, found {odd!r} {change}; {advice}")
        for name, parameter in parameters.items():
            found, before = _kind(parameter), _kind(expected[name])
            if found != before:
                raise SplitError(f"expected {name!r} as it was taken, {before}, found {found}; {advice}")

    @torch.no_grad()
    def _fill_(self, tensors: Mapping[str, Array]) -> None:
        for name, view in self.named_tensors().items():
            view.copy_(as_tensor(tensors[name]))


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}"


def _check_memory(module: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Refuse parameters whose memory others see, too: they would no longer be the same after a move."""
    for name, parameter in parameters.items():
        if is_lazy(parameter):
            raise SplitError(f"expected initialised parameters, found {name!r} without a shape; run the module once")
    taken = {id(parameter) for parameter in parameters.values()}
    held = [*module.named_parameters(), *module.named_buffers()]
    ranges = sorted((*_memory(tensor), name, id(tensor) in taken) for name, tensor in held if _has_memory(tensor))
    for (device, _, stop, name, is_taken), (next_device, start, _, next_name, next_is_taken) in pairwise(ranges):
        if device == next_device and start < stop and (is_taken or next_is_taken):
            raise SplitError(
                f"expected parameters with memory of their own, found {name!r} and {next_name!r} in the same; share a "
                f"parameter by assigning the nn.Parameter itself, or copy one"
            )


def _has_memory(tensor: Tensor) -> bool:
    if is_lazy(tensor) or tensor.layout != torch.strided or isinstance(tensor.data, FakeTensor):
        return False
    return tensor.device.type != "meta" and tensor.numel() > 0


def _memory(tensor: Tensor) -> tuple[str, int, int]:
    """Device, address of the first element, and the end of the last one."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return str(tensor.device), tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
