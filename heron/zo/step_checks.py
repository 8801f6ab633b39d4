"""Checks of a step of `ZerothOrder`: what would silently learn nothing, or noise, is refused or told.

A finite difference divides by mu whatever else changes between two losses, so they must be one function of the
parameters: the same batch, the same masks, nothing but the parameters moved.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heron.arrays import arithmetic_dtype
from heron.errors import ConfigError, TrainingError
from heron.seeds import derive_seed
from heron.tensors import as_tensor
from heron.zo.flat import LossFunction
from heron.zo.flat_parameters import FlatParameters
from heron.zo.probes import Estimator
from heron.zo.resolution import warn_of_radius

# Losses of one function differ by less even where a GPU sums in any order; those of other batches or masks by more.
_SAME = 1e-5
_LARGE_PROBES = 4
_LISTED = 4
_CALLER = 5  # the caller of `ZerothOrder.step`, which a decorator wraps


class StepLoss:
    """The caller's loss in the passes of one step: a number, with the same random numbers in each of them.

    Args:
        loss_fn: returns the loss.
        seed_all: seeds all generators of the process, see `heron.randomness.borrowed_process`.
        seed: seed of every pass.
    """

    def __init__(self, loss_fn: LossFunction, seed_all: Callable[[int], None], seed: int) -> None:
        self._loss_fn = loss_fn
        self._seed_all = seed_all
        self._seed = seed

    def __call__(self) -> Tensor:
        """Compute the loss, shape ().

        Raises:
            ConfigError: if it is not one real number.
        """
        self._seed_all(self._seed)
        return _number(self._loss_fn())


def check_repeatable(flat: FlatParameters, loss: StepLoss, clean_loss: Tensor) -> None:
    """Refuse a loss that is another number when it is computed again at the same parameters.

    Raises:
        ConfigError: if it is.
        TrainingError: if one of the two is not finite.
    """
    with flat.probing():
        first, second = float(clean_loss), float(loss())
    _refuse_unless_finite([first, second], f"{first:g} and {second:g} at the same parameters")
    if abs(second - first) > _SAME * abs(first):
        raise ConfigError(
            f"expected a loss that is one function of the parameters within a step, found {first:.6g} and then "
            f"{second:.6g} at the same ones; take one batch a step, draw from no generator of your own, step no other "
            f"optimiser in it, and put layers whose buffers change the loss into evaluation mode"
        )


def check_resolution(flat: FlatParameters, estimator: Estimator, clean_loss: Tensor) -> None:
    """Warn of a smoothing radius that the parameters, or of differences that the loss, cannot resolve."""
    if estimator.scheme == "jvp":
        return
    if arithmetic_dtype(clean_loss) != clean_loss.dtype and clean_loss.dtype.is_floating_point:
        warnings.warn(
            f"expected a loss in float32, found {clean_loss.dtype}, which rounds off the differences that probes "
            f"measure; compute it in float32, e.g. cross_entropy(model(x).float(), y)",
            stacklevel=_CALLER,
        )
    dtype = _computed_in(flat.theta)
    warn_of_radius(flat.named_tensors().values(), estimator.mu, dtype=dtype, stacklevel=_CALLER)


def check_finite(flat: FlatParameters, clean_loss: Tensor, projected_gradients_P: Tensor, step: int) -> None:
    """Refuse step number `step` for a loss that is not finite, and leave the parameters as they were before it.

    Raises:
        TrainingError: if there is one.
    """
    clean, scalars = float(clean_loss), projected_gradients_P.tolist()
    if not all(map(math.isfinite, [clean, *scalars])):
        flat.restore_()
    listed = ", ".join(f"{scalar:g}" for scalar in scalars[:_LISTED]) + (", ..." if len(scalars) > _LISTED else "")
    _refuse_unless_finite([clean, *scalars], f"{clean:g} and projected gradients [{listed}] in step {step}")


def check_untouched(flat: FlatParameters, versions: dict[str, int]) -> None:
    """Refuse a loss that has written parameters, and leave these as they were before the step.

    Args:
        flat: the parameters.
        versions: `flat.versions()` before the first pass.

    Raises:
        ConfigError: if one has been written since.
    """
    written = [name for name, version in flat.versions().items() if versions.get(name) != version]
    if written:
        flat.restore_(force=True)
        raise ConfigError(
            f"expected a loss that only reads the parameters, found that it writes {written[0]!r}; step other "
            f"optimisers and clip weights between steps, not in the loss"
        )


def check_response(flat: FlatParameters, loss: StepLoss, clean_loss: Tensor, estimator: Estimator) -> None:
    """Refuse a loss that no probe of any size changes; warn if only the probes of a step were too small to.

    Raises:
        ConfigError: if the loss does not depend on the parameters.
    """
    radius = 1.0 + float(flat.theta.abs().max())
    with flat.probing():
        for number in range(_LARGE_PROBES):
            with flat.perturbed(derive_seed("large probe", number), radius):
                changed = not torch.equal(loss(), clean_loss)
            if changed:
                break
    if not changed:
        raise ConfigError(
            "expected a loss of the module's parameters, found one that they do not change; compute it with the "
            "module that the optimiser was made of, not with a copy of it"
        )
    warnings.warn(
        f"expected probes that change the loss, found none in a step with mu={estimator.mu:g} and parameters in "
        f"{_computed_in(flat.theta)}: nothing is learned; raise mu, or compute the loss in float32",
        stacklevel=_CALLER + 1,
    )


def _number(loss: Any) -> Tensor:
    wrong = ""
    try:
        tensor = as_tensor(loss)
    except (TypeError, ValueError):
        wrong = type(loss).__name__
    else:
        if tensor.shape != () or tensor.is_complex():
            wrong = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
    if wrong:
        raise ConfigError(
            f"expected a loss function that returns one real number, shape (), found {wrong}; return e.g. loss.mean()"
        )
    return tensor


def _computed_in(theta: Tensor) -> torch.dtype:
    """Element type that layers see: autocast converts float32 weights."""
    kind = theta.device.type
    if theta.dtype == torch.float32 and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return theta.dtype


def _refuse_unless_finite(numbers: list[float], found: str) -> None:
    if not all(map(math.isfinite, numbers)):
        raise TrainingError(
            f"expected finite losses, found {found}; the parameters are as before: lower the learning rate, or leave "
            f"this batch out"
        )
