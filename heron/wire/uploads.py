"""The group of settings that describes uploads; the other groups are in `heron.wire.groups`."""

from dataclasses import dataclass

from heron.checked import Checked
from heron.ranges import NonNegativeFloat
from heron.wire.payload import COMPRESSED, Codec


@dataclass(frozen=True)
class Smashed(Checked, section="smashed"):
    """Section `[smashed]`: the form of the smashed data that clients upload; hosl's clients have the defaults only.

    Attributes:
        codec: bits of a value: `fp32` and `fp16`, or `int8`, `int4` and `dither6` (8/3 bits) per channel with random
            rounding.
        zstd: lossless compression on top, tensor by tensor where it pays.
        clip: largest norm of the smashed data of an example; larger ones are scaled down to it; 0 for no bound.
        noise: standard deviation of noise on each value, drawn once for each example from the client's secret; needs
            `clip`. It obscures and guarantees nothing (docs/concepts/privacy.md).
    """

    codec: Codec = "fp32"
    zstd: bool = False
    clip: NonNegativeFloat = 0.0
    noise: NonNegativeFloat = 0.0

    @property
    def packs(self) -> bool:
        """True if uploads are packed in few bytes."""
        return self.codec != "fp32" or self.zstd

    @property
    def names(self) -> tuple[str, ...]:
        """Names that the codes of a packed upload may have."""
        return (self.codec, self.codec + COMPRESSED) if self.zstd else (self.codec,)
