"""Named arrays as views of one flat buffer, in two copies that probing cannot damage.

`theta` holds the parameters and is never perturbed; `work` is what the loss is computed with. A probe writes
`work = theta + mu * u`; an update changes `theta` and writes `work = theta`. Adding and then subtracting `mu * u`
in place would save the second copy, but changes about 4% of all float32 weights and leaves wreckage behind
when a loss raises.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import accumulate, pairwise
from typing import Any, Generic

from heron.arrays import Array, arithmetic_dtype, is_floating, namespace
from heron.errors import ConfigError, MessageError, SplitError
from heron.zo.kernel import Kernel
from heron.zo.kernels import KernelName, choose_kernel
from heron.zo.stream import A, Distribution

LossFunction = Callable[[], Any]
"""The scalar loss at the present parameters, on one fixed batch: an array of their kind."""


class FlatArrays(Generic[A]):
    """Copies named arrays into one flat buffer, and that into another.

    Args:
        named: at least one array, all of one floating element type on one device; NumPy arrays or tensors.
        kernel: the kernel that passes over the parameters; `"auto"` takes the fastest that can.

    Attributes:
        theta: the parameters, shape (d,); never perturbed.
        work: what a loss is computed with, shape (d,).

    Raises:
        SplitError: if there is nothing to train, or element types or devices are mixed.

    Examples:
        >>> import numpy as np
        >>> flat = FlatArrays({"weight": np.ones((2, 3)), "bias": np.zeros(3)})
        >>> with flat.perturbed(7, 0.5):
        ...     print(flat.split(flat.work)["weight"])
        [[0.5 0.5 0.5]
         [1.5 0.5 1.5]]
    """

    theta: A
    work: A

    def __init__(self, named: Mapping[str, A], *, kernel: KernelName = "auto") -> None:
        _check_uniform(named)
        self._kernel = kernel
        self._shapes = {name: tuple(array.shape) for name, array in named.items()}
        pieces: list[Any] = [array.reshape(-1) for array in named.values()]
        join = namespace(pieces[0]).concat
        self.work, self.theta = join(pieces), join(pieces)
        self._in_step = True
        self._kernels: dict[tuple[Any, ...], Kernel[A]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the chosen kernels, which a copy chooses anew."""
        return {**vars(self), "_kernels": {}}

    def __len__(self) -> int:
        """Trainable dimension d."""
        return self.theta.shape[0]

    @property
    def names(self) -> Collection[str]:
        """Names of the parameters, in the order of the flat buffer."""
        return self._shapes.keys()

    def named_tensors(self) -> dict[str, A]:
        """Views of `theta` by parameter name, in the order of the flat buffer."""
        return self.split(self.theta)

    def load_(self, tensors: Mapping[str, Array]) -> None:
        """Copy named arrays into `theta` and `work`; every parameter, nothing else.

        Raises:
            MessageError: if a name or shape does not fit; nothing is changed then.
        """
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if self._shapes != found:
            odd = min(set(self._shapes.items()) ^ set(found.items()))[0]
            raise MessageError(
                f"parameters do not fit at {odd!r}: expected shape {self._shapes.get(odd)}, found {found.get(odd)}"
            )
        self._fill_(tensors)
        self.restore_(force=True)

    def perturb_(self, seed: int, scale: float, distribution: Distribution = "rademacher") -> None:
        """Write `theta + scale * direction(seed)` into `work`: one pass, `theta` is only read.

        Args:
            seed: seed of the direction.
            scale: length along it, e.g. mu or -mu.
            distribution: distribution of the directions.
        """
        self._in_step = False
        theta: Any = self.theta
        scales_P = namespace(theta).full((1,), scale, dtype=arithmetic_dtype(theta), device=theta.device)
        self.kernel_for(distribution).add_directions_(self.work, theta, [seed], scales_P)
        self._note_written()

    def restore_(self, *, force: bool = False) -> None:
        """Write `theta` into `work`, unless they are known to be equal."""
        if force or not self._in_step:
            work: Any = self.work
            work[...] = self.theta
            self.mark_restored()

    def mark_restored(self) -> None:
        """Declare `work == theta`, for an update that has written both in its own pass."""
        self._in_step = True
        self._note_written()

    @contextmanager
    def perturbed(self, seed: int, scale: float, distribution: Distribution = "rademacher") -> Iterator[None]:
        """Run the body at `theta + scale * direction(seed)`; `work` is `theta` again afterwards, come what may.

        Args:
            seed: seed of the direction.
            scale: length along it, e.g. mu or -mu.
            distribution: distribution of the directions.
        """
        try:
            self.perturb_(seed, scale, distribution)
            yield
        finally:
            self.restore_()

    def probing(self) -> AbstractContextManager[None]:
        """Context in which the losses of probes are computed; what else they would change comes back afterwards."""
        return nullcontext()

    def exact_projected_gradients(
        self,
        loss_fn: LossFunction,  # noqa: ARG002 - for those that can
        seeds: Sequence[int],  # noqa: ARG002
        distribution: Distribution,  # noqa: ARG002
    ) -> A:
        """Directional derivatives of the loss along the directions of `seeds`, shape (P,).

        Args:
            loss_fn: returns the scalar loss at the present parameters.
            seeds: one seed per probe.
            distribution: distribution of the directions.

        Raises:
            ConfigError: always; plain arrays have no forward-mode differentiation.
        """
        raise ConfigError(
            "expected parameters of a torch module for scheme 'jvp', which differentiates in forward mode, found plain "
            "arrays; use scheme 'central'"
        )

    def kernel_for(self, distribution: Distribution) -> Kernel[A]:
        """Kernel for passes over arrays like `theta` with directions of a distribution.

        Raises:
            ConfigError: if the kernel asked for is not installed or cannot do it.
        """
        # A step asks for it three times; the choice looks at these alone, and at the size, which stays.
        key = (distribution, type(self.theta), self.theta.dtype, self.theta.device)
        if key not in self._kernels:
            self._kernels[key] = choose_kernel(self._kernel, self.theta, distribution)
        return self._kernels[key]

    def split(self, flat: A) -> dict[str, A]:
        """Views of any flat array of d entries, by parameter name and in its shape."""
        array: Any = flat
        stops = accumulate((math.prod(shape) for shape in self._shapes.values()), initial=0)
        return {
            name: array[start:stop].reshape(shape)
            for (name, shape), (start, stop) in zip(self._shapes.items(), pairwise(stops), strict=True)
        }

    def _note_written(self) -> None:
        """Forget what was made of the values that `work` had before; nothing is made of plain arrays."""

    def _fill_(self, tensors: Mapping[str, Array]) -> None:
        views: dict[str, Any] = dict(self.named_tensors())
        for name, view in views.items():
            view[...] = tensors[name]


def _check_uniform(named: Mapping[str, Array]) -> None:
    if not named:
        raise SplitError("expected parameters to train, found none")
    first_name, first = next(iter(named.items()))
    if not is_floating(first):
        raise SplitError(f"expected floating parameters, found {first.dtype} in {first_name!r}")
    for name, array in named.items():
        if (array.dtype, array.device) != (first.dtype, first.device):
            raise SplitError(
                f"expected trainable parameters of one dtype on one device, found {first.dtype} on {first.device} in "
                f"{first_name!r} and {array.dtype} on {array.device} in {name!r}; convert or freeze one"
            )
