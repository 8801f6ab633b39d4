"""Messages of sums under masks (`heron.privacy.masks`), and the names of what else travels for them.

A client's neighbours and their public keys come with its broadcast, under `ROSTER` among the tensors; what it sends of
its mask goes with its reply, under `SEALED` and `MARKS`.

`k` neighbours of a client.
"""

from dataclasses import dataclass

from heron.arrays import Array

MASKS = "masks."
"""Beginning of these names."""
ROSTER = "masks.roster"
"""Number, 8 bytes, little-endian, and public key of each neighbour, uint8, shape (k, 40), ascending."""
SEALED = "masks.sealed"
"""A share of the client's own mask for each neighbour, uint8, shape (k, 48)."""
MARKS = "masks.marks"
"""Marks of its mask with each neighbour, of each share and of its own mask, uint8, shape (2 k + 1, 16)."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """Fed Server to client, before its first round: send your public key.

    Attributes:
        round_index: t, from 0.
        client_id: receiver, from 0.
    """

    round_index: int
    client_id: int


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Client to Fed Server: its public key for the run.

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
        key: uint8, shape (32,).
    """

    round_index: int
    client_id: int
    key: Array


@dataclass(frozen=True, slots=True)
class Unmasking:
    """Fed Server to client, after the replies: whose have arrived; answer for each of your neighbours.

    Attributes:
        round_index: t, from 0.
        client_id: receiver, from 0.
        arrived: whether the reply of each neighbour has arrived, bool, shape (k,).
        sealed: the share of each neighbour for this client, zero where none has arrived, uint8, shape (k, 48).
    """

    round_index: int
    client_id: int
    arrived: Array
    sealed: Array


@dataclass(frozen=True, slots=True)
class Unmasked:
    """Client to Fed Server: for each neighbour the share of its mask, or the key of the mask in common.

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
        revealed: uint8, shape (k, 32).
    """

    round_index: int
    client_id: int
    revealed: Array


MaskRequest = KeyRequest | Unmasking
"""A question of the Fed Server about masks."""
MaskAnswer = PublicKey | Unmasked
"""A client's answer to it."""
