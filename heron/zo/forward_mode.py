"""Exact projected gradients by forward-mode differentiation: what every finite difference tends to as mu -> 0.

`s = <u, grad l>` comes out of one dual-number forward pass (Baydin et al., "Gradients without backpropagation",
arXiv 2202.08587). It costs a forward pass that carries tangents and needs derivative formulas for every
operation; here it is the noise-free reference for estimators, in tests and plots.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad

from heron.zo.buffers import preserved_buffers
from heron.zo.flat import FlatParameters
from heron.zo.probes import LossFunction
from heron.zo.stream import Distribution, direction


def exact_projected_gradients(
    flat: FlatParameters,
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
    """
    with preserved_buffers(flat.module):
        return torch.stack([_derivative(flat, loss_fn, seed, distribution) for seed in seeds])


def _derivative(flat: FlatParameters, loss_fn: LossFunction, seed: int, distribution: Distribution) -> Tensor:
    tangent = direction(seed, 0, len(flat), distribution=distribution, dtype=flat.theta.dtype, device=flat.theta.device)
    with torch.no_grad(), forward_ad.dual_level(), _dual_parameters(flat, tangent):
        loss, derivative = forward_ad.unpack_dual(loss_fn())  # type: ignore[no-untyped-call]
    return torch.zeros_like(loss) if derivative is None else derivative.detach().clone()


@contextmanager
def _dual_parameters(flat: FlatParameters, tangent: Tensor) -> Iterator[None]:
    """Let the module see dual tensors instead of its parameters; the parameters come back afterwards."""
    tangents = flat.split(tangent)
    duals = {
        id(parameter): forward_ad.make_dual(parameter.detach(), tangents[name])  # type: ignore[no-untyped-call]
        for name, parameter in flat.module.named_parameters()
        if name in tangents
    }
    owners = [owner for owner in flat.module.modules() if owner._parameters]
    saved = [dict(owner._parameters) for owner in owners]
    try:
        for owner in owners:
            for name, parameter in list(owner._parameters.items()):
                if id(parameter) in duals:
                    del owner._parameters[name]
                    setattr(owner, name, duals[id(parameter)])
        yield
    finally:
        for owner, parameters in zip(owners, saved, strict=True):
            for name, parameter in parameters.items():
                if id(parameter) in duals:
                    owner.__dict__.pop(name, None)
            owner._parameters.clear()
            owner._parameters.update(parameters)
