"""Keys that two clients agree on without anybody else, what is made of them, and marks by which a wrong one is found.

X25519 (RFC 7748) once a run, HKDF with SHA-256 (RFC 5869) for every round, ChaCha20 as generator and with Poly1305 as
seal (RFC 8439), all from `cryptography`; marks are BLAKE2b.
"""

import hashlib
import importlib.util
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heron.errors import MessageError, MissingExtraError

NUM_BYTES = 32
"""Length of keys, public or not, and of shares."""
SEALED_BYTES = NUM_BYTES + 16
"""Length of a sealed share."""
MARK_BYTES = 16
"""Length of a mark."""
_INFO = b"heron/masks/v1"
_PERSON = b"heron/mark/v1"
_NONCE = bytes(16)  # each key is used for one stream


@dataclass(frozen=True)
class PairKeys:
    """Keys of two clients for a round.

    Attributes:
        mask: of the mask that one adds and the other subtracts; told to the server if one of them drops out.
        channel: seals what one tells the other; never told.
    """

    mask: bytes
    channel: bytes


class KeyPair:
    """A client's key pair of a run.

    Args:
        seed: 32 private random bytes.

    Attributes:
        public: what everybody may know, 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self._private = X25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()
        self._agreed: dict[bytes, bytes] = {}

    def agreed(self, public: bytes, round_index: int) -> PairKeys:
        """Agree with another client on the keys of a round.

        Args:
            public: the other's public key.
            round_index: t, from 0.

        Raises:
            MessageError: if it is no public key.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        if public not in self._agreed:
            try:
                self._agreed[public] = self._private.exchange(X25519PublicKey.from_public_bytes(public))
            except ValueError as error:
                raise MessageError(f"expected a public key of a client for its masks, found none ({error})") from error
        # Both keys in their order: whoever swaps one makes other masks.
        pair = b"".join(sorted((self.public, public)))
        info = _INFO + pair + struct.pack("<q", round_index)
        both = HKDF(SHA256(), 2 * NUM_BYTES, salt=None, info=info).derive(self._agreed[public])
        return PairKeys(both[:NUM_BYTES], both[NUM_BYTES:])


def mask_of(key: bytes, length: int) -> NDArray[np.uint64]:
    """Stretch a key to a mask, uniform modulo 2^64, shape (length,)."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

    encryptor = Cipher(ChaCha20(key, _NONCE), mode=None).encryptor()
    return np.frombuffer(encryptor.update(bytes(8 * length)), "<u8")


def mark_of(content: bytes) -> bytes:
    """Compute a mark, by which random bytes are recognised and from which they cannot be found."""
    return hashlib.blake2b(content, digest_size=MARK_BYTES, person=_PERSON).digest()


def sealed(channel: bytes, share: bytes, *, upwards: bool) -> bytes:
    """Seal a share so that the other client of a pair alone can read it.

    Args:
        channel: key of the pair.
        share: 32 bytes.
        upwards: whether it goes to the client with the larger number; one share goes each way.
    """
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(channel).encrypt(_way(upwards), share, None)


def unsealed(channel: bytes, content: bytes, *, upwards: bool) -> bytes:
    """Inverse of `sealed`.

    Raises:
        MessageError: if it was not sealed by the other client of the pair, for this round.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    try:
        return ChaCha20Poly1305(channel).decrypt(_way(upwards), content, None)
    except InvalidTag as error:
        raise MessageError("expected a share that was sealed for this client and round, found another one") from error


def check_cryptography() -> None:
    """Check early that masks can be made.

    Raises:
        MissingExtraError: if `cryptography` is not installed.
    """
    if importlib.util.find_spec("cryptography") is None:
        raise MissingExtraError("cryptography", "privacy")


def _way(upwards: bool) -> bytes:
    return bytes(11) + bytes([upwards])
