"""Noise of a client's gradients, and the quality of its probes against the exact gradient.

`d` parameters, `q` probes of a step.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from heron.zo.flat import LossFunction
from heron.zo.flat_parameters import FlatParameters
from heron.zo.probes import Estimator
from heron.zo.torch_stream import direction


@dataclass(frozen=True)
class ProbeQuality:
    """Zeroth-order estimates beside the exact gradient.

    Attributes:
        cosine: mean cosine of estimate and gradient.
        variance: mean of |estimate - gradient|^2 / |gradient|^2.
        expected_variance: (d - 1) / q, what random signs give in the limit mu -> 0.
    """

    cosine: float
    variance: float
    expected_variance: float


def noise_scale(batches: Iterable[tuple[Tensor, int]]) -> float:
    """Estimate the gradient noise scale tr(Sigma) / |G|^2: the batch size whose noise is as large as its signal.

    From the squared lengths of batch gradients and of their mean (McCandlish et al., arXiv 1812.06162, Appendix A).

    Args:
        batches: gradients of batches of equal size, shape (d,), with that size; a smaller last one is left out.

    Returns:
        A number of examples; NaN with fewer than two batches, infinity where the noise hides the signal.
    """
    full = [*batches]
    size = max((count for _, count in full), default=0)
    gradients = [gradient for gradient, count in full if count == size]
    if len(gradients) < 2:
        return math.nan
    small = sum(float(gradient @ gradient) for gradient in gradients) / len(gradients)
    mean = torch.stack(gradients).mean(dim=0)
    large, total = float(mean @ mean), size * len(gradients)
    noise = (small - large) / (1.0 / size - 1.0 / total)
    signal = (total * large - size * small) / (total - size)
    return noise / signal if signal > 0 else math.inf


def probe_quality(
    theta: FlatParameters, loss_fn: LossFunction, gradient: Tensor, estimator: Estimator, *, repeats: int, seed: int
) -> ProbeQuality:
    """Compare estimates with the gradient of the same loss.

    Args:
        theta: the parameters; where they are they stay.
        loss_fn: computes the loss at `theta.work`, shape ().
        gradient: of this loss at theta, in the order of the flat vector, shape (d,).
        estimator: q, mu, distribution and scheme.
        repeats: number of estimates.
        seed: of their directions.

    Returns:
        Means over the estimates.
    """
    cosines, variances = [], []
    exact = gradient.double()
    for repeat in range(repeats):
        seeds = [seed + repeat * estimator.num_probes + probe for probe in range(estimator.num_probes)]
        with torch.no_grad():
            scalars = estimator.projected_gradients(theta, loss_fn, seeds, loss_fn())
        estimate = torch.zeros_like(exact)
        for number, scalar in zip(seeds, scalars.tolist(), strict=True):
            along = direction(
                number,
                0,
                len(exact),
                distribution=estimator.distribution,
                dtype=exact.dtype,
                device=exact.device,
            )
            estimate += scalar / len(seeds) * along
        cosines.append(float(torch.nn.functional.cosine_similarity(estimate, exact, dim=0)))
        variances.append(float((estimate - exact) @ (estimate - exact) / (exact @ exact)))
    return ProbeQuality(
        cosine=sum(cosines) / repeats,
        variance=sum(variances) / repeats,
        expected_variance=(len(exact) - 1) / estimator.num_probes,
    )
