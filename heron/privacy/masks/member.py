"""A client's part in a sum: its values under masks, shares of its own mask, and its answer once others are missing.

`k` neighbours, `D` values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heron.errors import MessageError
from heron.privacy.masks.circle import least_shares
from heron.privacy.masks.keys import KeyPair, mark_of, mask_of, sealed, unsealed
from heron.privacy.masks.sharing import from_bytes, shares_of, to_bytes
from heron.privacy.secret import Secret

_OWN, _SHARES = "own mask", "mask shares"


@dataclass(frozen=True)
class Covered:
    """All that a client sends of its values; lists are in the order of its neighbours.

    Attributes:
        masked_D: the values modulo 2^64, shape (D,).
        sealed: a share of the client's own mask for each neighbour, sealed.
        pair_marks: marks of the masks that it has with each.
        share_marks: marks of the shares.
        own_mark: mark of its own mask.
    """

    masked_D: NDArray[np.uint64]
    sealed: tuple[bytes, ...]
    pair_marks: tuple[bytes, ...]
    share_marks: tuple[bytes, ...]
    own_mark: bytes


class Member:
    """A client in a sum of one round. Everything that it draws is a function of its secret and the round.

    Args:
        client_id: from 0.
        round_index: t, from 0.
        secret: the client's.
        keys: its key pair.
        peers: public keys of its neighbours, by their numbers.
        told: what it has answered in this round before: whose values had arrived; None if it has not.

    Raises:
        MessageError: if there are too few neighbours, it is one of them, or a key is none.
    """

    def __init__(
        self,
        client_id: int,
        round_index: int,
        secret: Secret,
        keys: KeyPair,
        peers: Mapping[int, bytes],
        told: Sequence[bool] | None = None,
    ) -> None:
        if len(peers) < 2 or client_id in peers:
            raise MessageError(
                f"client {client_id} in round {round_index + 1}: expected masks with at least 2 other clients, found "
                f"{len(peers)}; more clients have to take part"
            )
        self._client_id = client_id
        self._round_index = round_index
        self._secret = secret
        self._pairs = {peer: keys.agreed(peers[peer], round_index) for peer in sorted(peers)}
        self._told = None if told is None else tuple(told)

    @property
    def neighbours(self) -> tuple[int, ...]:
        """Numbers of its neighbours, ascending."""
        return tuple(self._pairs)

    def cover(self, values_D: NDArray[np.int64]) -> Covered:
        """Mask values.

        Args:
            values_D: in fixed point, shape (D,).
        """
        own = self._drawn(_OWN, 0)
        coefficients = [own, *(self._drawn(_SHARES, power) for power in range(1, least_shares(len(self._pairs))))]
        shares = [to_bytes(share) for share in shares_of(coefficients, len(self._pairs))]
        masked_D = values_D.view(np.uint64) + mask_of(to_bytes(own), len(values_D))
        for peer, pair in self._pairs.items():
            mask_D = mask_of(pair.mask, len(values_D))
            masked_D = masked_D + mask_D if peer > self._client_id else masked_D - mask_D
        return Covered(
            masked_D,
            tuple(
                sealed(pair.channel, share, upwards=peer > self._client_id)
                for (peer, pair), share in zip(self._pairs.items(), shares, strict=True)
            ),
            tuple(mark_of(pair.mask) for pair in self._pairs.values()),
            tuple(map(mark_of, shares)),
            mark_of(to_bytes(own)),
        )

    def reveal(self, arrived: Sequence[bool], sealed_shares: Sequence[bytes]) -> list[bytes]:
        """Answer for each neighbour: its share if its values have arrived, the key of the common mask if not.

        Never both: with both the values of a client whose message is late would be open.

        Args:
            arrived: whether each neighbour's values have arrived.
            sealed_shares: the share of each for this client; of one that is missing it is not looked at.

        Raises:
            MessageError: if something else was answered for this round before, too few have arrived, or a share was not
                sealed for this client.
        """
        asked = tuple(map(bool, arrived))
        who = f"client {self._client_id} in round {self._round_index + 1}"
        if len(asked) != len(self._pairs) or len(sealed_shares) != len(self._pairs):
            raise MessageError(f"{who}: expected to answer for {len(self._pairs)} neighbours, found {len(asked)}")
        if self._told not in (None, asked):
            raise MessageError(f"{who}: expected one list of those that are missing, found a second one")
        least = least_shares(len(self._pairs))
        if sum(asked) < least:
            raise MessageError(
                f"{who}: expected values of at least {least} of its {len(asked)} neighbours, found {sum(asked)}: a sum "
                f"of so few is not told; fewer clients may drop out, or more have to take part"
            )
        self._told = asked
        return [
            self._opened(peer, content) if has_arrived else self._pairs[peer].mask
            for peer, has_arrived, content in zip(self._pairs, asked, sealed_shares, strict=True)
        ]

    def _opened(self, peer: int, content: bytes) -> bytes:
        try:
            return unsealed(self._pairs[peer].channel, content, upwards=self._client_id > peer)
        except MessageError as error:
            raise MessageError(
                f"client {self._client_id} in round {self._round_index + 1}: {error}, from client {peer}"
            ) from error

    def _drawn(self, purpose: str, number: int) -> int:
        return from_bytes(self._secret.derived(purpose, self._round_index, number))
