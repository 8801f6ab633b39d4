"""Exact projected gradients by forward-mode differentiation: what every finite difference tends to as mu -> 0.

`s = <u, grad l>` comes out of one dual-number forward pass (Baydin et al., "Gradients without backpropagation", arXiv
2202.08587): the noise-free upper bound of the finite differences of probes along the same directions (docs/methods.md,
"Exact directional derivatives"). Its price, measured by `heron profile`: a product of activations and weights has a
tangent of two products, so such a pass makes three times the operations of a plain one; every activation has a tangent
beside it and the formulas need room of their own, 2.3 times the peak of a one-sided step on `digits` and 3.6 times on
`cifar10-resnet18-small`, which is more than backpropagation needs. A reference, not a client for a small device.

Every operation needs a forward-mode formula. The derivative is autograd's: `detach` stops it, where a finite difference
sees through.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from heron.errors import SplitError
from heron.randomness import one_thread_at_a_time
from heron.zo.buffers import preserved_buffers
from heron.zo.flat import LossFunction
from heron.zo.stream import Distribution

if TYPE_CHECKING:
    from heron.zo.flat_parameters import FlatParameters

# How torch names what an operation lacks.
_FORWARD_MODE = ("forward AD", "forward mode AD")


def exact_projected_gradients(
    flat: "FlatParameters",
    loss_fn: LossFunction,
    seeds: Sequence[int],
    distribution: Distribution = "rademacher",
) -> Tensor:
    """Directional derivatives of the loss along the directions of `seeds`, without truncation error.

    Args:
        flat: parameters that `loss_fn` depends on.
        loss_fn: returns the scalar loss at the module's present parameters.
        seeds: one direction seed per probe.
        distribution: distribution of the directions.

    Returns:
        Projected gradients, shape (P,), in the dtype of the loss.

    Raises:
        SplitError: if an operation of the module or the loss has no forward-mode formula.
    """
    with preserved_buffers(flat.module):
        return torch.stack([_derivative(flat, loss_fn, seed, distribution) for seed in seeds])


def _derivative(flat: "FlatParameters", loss_fn: LossFunction, seed: int, distribution: Distribution) -> Tensor:
    tangent = torch.zeros_like(flat.theta)
    flat.kernel_for(distribution).add_directions_(tangent, tangent, [seed], torch.ones_like(tangent[:1]))
    try:
        # Fused attention has no forward-mode formula; the operations it is made of do.
        math = sdpa_kernel(SDPBackend.MATH)
        # Both are the whole process's.
        with one_thread_at_a_time(), torch.no_grad(), math, forward_ad.dual_level(), _dual_parameters(flat, tangent):
            loss, derivative = forward_ad.unpack_dual(loss_fn())  # type: ignore[no-untyped-call]
    except NotImplementedError as error:
        reason = str(error).partition("\n")[0]
        if not any(name in reason for name in _FORWARD_MODE):
            raise
        raise SplitError(
            f"expected operations with a forward-mode formula for scheme 'jvp', found one without ({reason}); use "
            f"scheme 'central' or another operation"
        ) from error
    return torch.zeros_like(loss) if derivative is None else derivative.detach().clone()


@contextmanager
def _dual_parameters(flat: "FlatParameters", tangent: Tensor) -> Iterator[None]:
    """Let the module see dual tensors instead of its parameters; the parameters come back afterwards."""
    tangents = flat.split(tangent)
    duals = {
        id(parameter): forward_ad.make_dual(parameter.detach(), tangents[name])  # type: ignore[no-untyped-call]
        for name, parameter in flat.module.named_parameters()
        if name in tangents
    }
    swapped = [
        (owner, name, parameter)
        for owner in flat.module.modules()
        for name, parameter in owner._parameters.items()
        if id(parameter) in duals
    ]
    try:
        for owner, name, parameter in swapped:
            owner._parameters[name] = duals[id(parameter)]
        yield
    finally:
        for owner, name, parameter in swapped:
            owner._parameters[name] = parameter
