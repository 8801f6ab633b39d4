"""The mechanism by which a step's numbers leave a device: clip each example's vector, sum, add noise, divide.

Example i contributes a vector d_i: the q projected gradients of its own loss, or its own gradient. With C the clip, s
the noise and B the EXPECTED size of a batch,

    release = ( sum_i d_i min(1, C / |d_i|) + N(0, s^2 C^2 I) ) / B

One example more or less changes the sum by at most C in L2, whatever the others are (Gaussian mechanism, Dwork and Roth
2014, appendix A; for a batch of gradients Abadi et al., CCS 2016). Three details carry the claim:

- The vector is clipped as a whole. q numbers that are clipped one by one have a joint norm of up to C sqrt(q).
- B is the expected size: the true one would tell how many examples were chosen, without noise.
- Sums are of integers, multiples of C 2^-30, so that micro-batches and the order of examples change no bit of them, and
  noise is rounded to the same grid. Rounding after the addition of noise is post-processing: the digits of a
  floating-point sum say nothing more (Mironov, CCS 2012).

`B` examples of a batch, `D` numbers of a release.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heron.errors import ConfigError

_STEPS = 2.0**30  # grid points from 0 to the clip: a sum over 2^31 examples fits 64 bits
_BELOW = 1.0 - 2.0**-50  # so that a scaled vector is not longer than the clip by rounding
_AT_ONCE = 8192  # numbers that are clipped at once, 64 KiB in float64; or one vector, if it is longer
_MOST_NOISE = 1e6  # 30 + 20 + 4 bits of the largest draw are exact in float64
_LEAST_CLIP, _MOST_CLIP = 1e-100, 1e100  # squares of what is near the clip neither vanish nor overflow


@dataclass(frozen=True)
class VectorMechanism:
    """The mechanism of one step.

    Attributes:
        clip: largest L2 norm of an example's vector, C, in [1e-100, 1e100].
        noise: standard deviation of the noise over C, > 0.
        batch_size: expected number of examples of a batch, B, >= 1.

    Raises:
        ConfigError: if a number is out of range.
    """

    clip: float
    noise: float
    batch_size: int

    def __post_init__(self) -> None:
        """Refuse a mechanism that would protect nothing."""
        if not _LEAST_CLIP <= self.clip <= _MOST_CLIP:
            raise ConfigError(
                f"expected a clip from {_LEAST_CLIP:g} to {_MOST_CLIP:g}, found {self.clip:g}; set privacy.clip"
            )
        if not 0.0 < self.noise <= _MOST_NOISE:
            raise ConfigError(
                f"expected noise above 0 and of at most {_MOST_NOISE:g}, found {self.noise:g}; set privacy.noise"
            )
        if self.batch_size < 1:
            raise ConfigError(f"expected a batch of at least 1, found {self.batch_size}; set client.batch_size")

    def clipped_sum(self, vectors_BD: NDArray[np.floating]) -> NDArray[np.int64]:
        """Clip each example's vector and add them up; a vector with NaN or infinity counts as zero.

        A refusal of such a vector would depend on a single example, which is what must not be seen.

        Args:
            vectors_BD: one vector for each example of a batch or micro-batch, shape (B, D); B may be 0.

        Returns:
            The sum in grid points, shape (D,); those of micro-batches add up exactly.
        """
        num_examples, width = vectors_BD.shape
        at_once = max(1, _AT_ONCE // max(1, width))
        total: NDArray[np.int64] = np.zeros(width, np.int64)
        for start in range(0, num_examples, at_once):
            # A copy in this order, so that a norm does not depend on the order in memory of what came in.
            total += self._clipped_points(np.array(vectors_BD[start : start + at_once], np.float64, order="C")).sum(0)
        return total

    def _clipped_points(self, rows_bD: NDArray[np.float64]) -> NDArray[np.int64]:
        """Clip a few vectors in place and put them on the grid."""
        rows_bD[~np.isfinite(rows_bD).all(1)] = 0.0
        with np.errstate(over="ignore"):  # a vector whose norm is infinite becomes zero
            norms = np.sqrt(np.square(rows_bD).sum(1, keepdims=True))
        rows_bD *= np.where(norms > self.clip, _BELOW * self.clip / np.maximum(norms, self.clip), 1.0)
        rows_bD *= _STEPS / self.clip
        return np.trunc(rows_bD, out=rows_bD).astype(np.int64)

    def release(self, total_D: NDArray[np.int64], normals_D: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add noise to a sum and divide by the expected size of a batch.

        Args:
            total_D: sum over the whole batch, in grid points, shape (D,).
            normals_D: standard normal numbers of the device's own, never used before, shape (D,).

        Returns:
            What may leave the device, shape (D,).
        """
        noise = np.rint(normals_D * (self.noise * _STEPS)).astype(np.int64)
        released: NDArray[np.float64] = (total_D + noise) * (self.clip / _STEPS) / self.batch_size
        return released
