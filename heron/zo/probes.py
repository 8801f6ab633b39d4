"""Probes: one projected gradient per direction, from forward passes alone.

    one-sided   s_p = [ l(theta + mu u_p) - l(theta) ] / mu                 1 + P forwards
    central     s_p = [ l(theta + mu u_p) - l(theta - mu u_p) ] / (2 mu)     2 P forwards
    jvp         s_p = <u_p, grad l>, exactly                                1 + P forwards, P of them with tangents

`s_p` is or approximates the directional derivative `<u_p, grad l>`; the gradient estimate is `mean_p s_p u_p`
(HERON-SFL, Kou et al., arXiv 2601.09076, Eq. 2, whose factor d belongs to directions on the unit sphere; the
directions here have E[u u^T] = I and need none).

`P` probes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from heron.arrays import Array, is_tensor, namespace
from heron.checked import Checked
from heron.errors import ConfigError
from heron.ranges import PositiveFloat, PositiveInt
from heron.zo.flat import FlatArrays, LossFunction
from heron.zo.stream import A, Distribution

Scheme = Literal["one_sided", "central", "jvp"]
"""Formula of a projected gradient: a one-sided or central difference, or the exact derivative."""
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
"""All schemes."""


@dataclass(frozen=True)
class Estimator(Checked):
    """The rule by which losses become projected gradients.

    Attributes:
        mu: smoothing radius per coordinate, > 0; `"jvp"` ignores it.
        num_probes: directions per step (q), >= 1.
        distribution: distribution of the directions.
        scheme: `"one_sided"`, `"central"` or `"jvp"` (exact, by forward-mode differentiation; see `forward_mode` for
            what that costs).

    Raises:
        ConfigError: if a value is of another type or out of range.
    """

    mu: PositiveFloat = 1e-3
    num_probes: PositiveInt = 1
    distribution: Distribution = "rademacher"
    scheme: Scheme = "one_sided"

    @property
    def num_probe_forwards(self) -> int:
        """Forwards of the probes in one step, for jvp those with tangents; the clean forward comes on top."""
        return 2 * self.num_probes if self.scheme == "central" else self.num_probes

    def projected_gradients(
        self,
        flat: FlatArrays[A],
        loss_fn: LossFunction,
        seeds: Sequence[int],
        clean_loss: Array | None = None,
    ) -> A:
        """Probe the loss along the directions of `seeds` and leave parameters and buffers as they were.

        Args:
            flat: parameters that `loss_fn` depends on.
            loss_fn: returns the scalar loss at the present parameters; called in the context `flat.probing()`.
            seeds: one seed per probe, `num_probes` of them.
            clean_loss: loss at `theta`, shape (); needed by the one-sided scheme.

        Returns:
            Projected gradients, shape (P,), float32 (float64 where the loss is).

        Raises:
            ConfigError: if the number of seeds is wrong, or the one-sided scheme lacks its clean loss.
            ConfigError: also if jvp is asked for and the parameters are not those of a torch module.
            SplitError: if an operation has no forward-mode formula, which jvp needs.
        """
        try:
            return self.projected_gradients_(flat, loss_fn, seeds, clean_loss)
        finally:
            flat.restore_()

    def projected_gradients_(
        self,
        flat: FlatArrays[A],
        loss_fn: LossFunction,
        seeds: Sequence[int],
        clean_loss: Array | None = None,
    ) -> A:
        """Compute `projected_gradients`, but leave `work` at the last probe for the update to overwrite.

        This is what makes a step cost P + 1 passes over the parameters. When the loss raises, `work` is restored. The
        jvp scheme probes at `theta` itself.

        Args:
            flat: parameters that `loss_fn` depends on.
            loss_fn: returns the scalar loss at the present parameters.
            seeds: one seed per probe, `num_probes` of them.
            clean_loss: loss at `theta`, shape (); needed by the one-sided scheme.

        Returns:
            Projected gradients, shape (P,).

        Raises:
            ConfigError: if the number of seeds is wrong, or the one-sided scheme lacks its clean loss.
        """
        if len(seeds) != self.num_probes:
            raise ConfigError(f"expected {self.num_probes} probe seeds, found {len(seeds)}")
        if self.scheme == "one_sided" and clean_loss is None:
            raise ConfigError("expected the clean loss, found none: the one-sided scheme differences against it")
        if self.scheme == "jvp":
            flat.restore_()
            exact: A = _at_least_single(flat.exact_projected_gradients(loss_fn, seeds, self.distribution))
            return exact
        try:
            # A run that diverges has no finite losses; whoever reads them notices.
            with flat.probing(), np.errstate(all="ignore"):
                clean = None if clean_loss is None else _at_least_single(clean_loss)
                scalars = [self._probe_(flat, loss_fn, seed, clean) for seed in seeds]
                stacked: A = namespace(scalars[0]).stack(scalars)
                return stacked
        except BaseException:
            flat.restore_()
            raise

    def _probe_(self, flat: FlatArrays[A], loss_fn: LossFunction, seed: int, clean: Any) -> Any:
        flat.perturb_(seed, self.mu, self.distribution)
        forward = _at_least_single(loss_fn())
        if self.scheme == "one_sided":
            return (forward - clean) / self.mu
        flat.perturb_(seed, -self.mu, self.distribution)
        return (forward - _at_least_single(loss_fn())) / (2.0 * self.mu)


def _at_least_single(values: Array) -> Any:
    """Differences of half-precision losses would be all rounding: at least float32."""
    if is_tensor(values):
        return values.detach().to(namespace(values).promote_types(values.dtype, namespace(values).float32))
    array = np.asarray(values)
    return array.astype(np.promote_types(array.dtype, np.float32))
