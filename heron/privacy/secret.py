"""A device's secret: what its noise and its batches are derived from, and what nobody else can derive them from.

Everything else that is random in a run is a function of the run's seed, which all parties know. Noise that they could
draw again would hide nothing, and so would batches that they could (docs/decisions/0055-private-updates.md).

A draw is a function of the secret, a purpose and counters: keyed BLAKE2b makes a seed of them, SHAKE-256 stretches it.
A round that is run again after a crash draws the same, so that it repeats its release and is not charged twice.
"""

import hashlib
import secrets
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.errors import ConfigError

NUM_BYTES = 32
"""Length of a secret."""
_PERSON = b"heron/privacy/v1"
_BOUND = b"heron/bound/v1"
_UNIT = 2.0**-53


class Secret:
    """Source of a device's private draws. It is never shown, sent or logged.

    Args:
        key: 32 random bytes.

    Raises:
        ConfigError: if their number is another one.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != NUM_BYTES:
            raise ConfigError(f"expected a secret of {NUM_BYTES} bytes, found {len(key)}; use Secret.fresh()")
        self._key = key

    @classmethod
    def fresh(cls) -> "Secret":
        """Draw a new secret from the operating system."""
        return cls(secrets.token_bytes(NUM_BYTES))

    def of(self, client_id: int) -> "Secret":
        """Return the secret of one of the clients that this device simulates."""
        return Secret(self._seed("client", client_id))

    def bound(self, purpose: str, content: bytes) -> "Secret":
        """Return a secret of its own for a content, e.g. for a run or for what a round begins with.

        Args:
            purpose: as of `normals`.
            content: any bytes; two of them give secrets that have nothing in common.
        """
        name = purpose.encode("ascii")
        content = len(name).to_bytes(1) + name + content
        return Secret(hashlib.blake2b(content, digest_size=NUM_BYTES, key=self._key, person=_BOUND).digest())

    def digest(self) -> str:
        """Return a short text by which the secret is recognised, and from which it cannot be found."""
        return self._seed("digest")[:8].hex()

    def reveal(self) -> bytes:
        """Return the key, to be kept on the device."""
        return self._key

    def derived(self, purpose: str, *fields: int) -> bytes:
        """Derive 32 bytes, e.g. a key.

        Args:
            purpose: as of `normals`.
            fields: as of `normals`.
        """
        return self._seed(purpose, *fields)

    def normals(self, shape: tuple[int, ...], purpose: str, *fields: int) -> NDArray[np.float64]:
        """Draw standard normal numbers, by the method of Box and Muller.

        Args:
            shape: of the result.
            purpose: of the draw; draws of different purposes have nothing in common.
            fields: counters, e.g. (round, step); no pair of purpose and counters is to be drawn for two releases.
        """
        number = int(np.prod(shape))
        pairs = -(-number // 2)
        first, second = self.uniforms(2 * pairs, purpose, *fields).reshape(2, pairs)
        radius, angle = _polar(first, second)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:number].reshape(shape)

    def normal_sequence(self, number: int, purpose: str, *fields: int) -> NDArray[np.float64]:
        """Draw standard normal numbers of which a shorter draw is the beginning of a longer one; takes twice as long.

        Args:
            number: of the numbers.
            purpose: as of `normals`.
            fields: as of `normals`.
        """
        first, second = self.uniforms(2 * number, purpose, *fields).reshape(number, 2).T
        radius, angle = _polar(first, second)
        return radius * np.cos(angle)

    def chosen(self, num_examples: int, rate: float, purpose: str, *fields: int) -> NDArray[np.int64]:
        """Choose each of n examples with one probability, independently (Poisson sampling); there may be none.

        Args:
            num_examples: n.
            rate: the probability, in [0, 1].
            purpose: as of `normals`.
            fields: as of `normals`.

        Returns:
            The positions of the chosen ones, ascending.
        """
        return np.flatnonzero(self.uniforms(num_examples, purpose, *fields) < rate).astype(np.int64)

    def uniforms(self, number: int, purpose: str, *fields: int) -> NDArray[np.float64]:
        """Draw numbers in [0, 1), multiples of 2^-53; a shorter draw is the beginning of a longer one.

        Args:
            number: of the numbers.
            purpose: as of `normals`.
            fields: as of `normals`.
        """
        stream = hashlib.shake_256(self._seed(purpose, *fields)).digest(8 * number)
        drawn: NDArray[Any] = np.frombuffer(stream, dtype="<u8") >> np.uint64(11)
        return drawn.astype(np.float64) * _UNIT

    def _seed(self, purpose: str, *fields: int) -> bytes:
        name = purpose.encode("ascii")
        content = len(name).to_bytes(1) + name + struct.pack(f"<{len(fields)}q", *fields)
        return hashlib.blake2b(content, digest_size=NUM_BYTES, key=self._key, person=_PERSON).digest()


def _polar(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radius and angle of a point of two standard normal numbers, from two in [0, 1) (Box and Muller, 1958)."""
    return np.sqrt(-2.0 * np.log(1.0 - first)), 2.0 * np.pi * second
