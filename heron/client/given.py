"""A digest of all that a client's releases in a round depend on and that servers determine."""

import hashlib
import struct
from collections.abc import Mapping

import numpy as np

from heron.arrays import Array, dtype_name, to_host
from heron.wire.terms import Terms, encode_terms

_PERSON = b"heron/given/v1"


def given_digest(
    terms: Terms, place: tuple[int, int], model: Mapping[str, Array], state: Mapping[str, Array], num_examples: int
) -> bytes:
    """Digest what a round begins with: two rounds with one digest make the same steps on the same data.

    Args:
        terms: of the run, with the settings of this device in them.
        place: (round, client).
        model: the opened broadcast, by name.
        state: what the client kept, by name.
        num_examples: n of the client.
    """
    digest = hashlib.blake2b(digest_size=32, person=_PERSON)
    content = encode_terms(terms)
    digest.update(struct.pack("<4q", *place, num_examples, len(content)) + content)
    for arrays in (model, state):
        digest.update(struct.pack("<q", len(arrays)))
        for name in sorted(arrays):
            array = to_host(arrays[name])
            head = f"{name} {dtype_name(array)} {array.shape}".encode()
            digest.update(struct.pack("<q", len(head)) + head)
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.digest()
