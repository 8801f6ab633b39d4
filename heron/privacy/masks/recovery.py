"""A server's part in a sum: what the clients have answered, checked, and the masks that do not cancel, removed."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from heron.errors import MessageError
from heron.privacy.masks.circle import Circle, least_shares
from heron.privacy.masks.keys import mark_of, mask_of
from heron.privacy.masks.member import Covered
from heron.privacy.masks.sharing import from_bytes, recovered, to_bytes


def unmasked_sum(
    circle: Circle, covered: Mapping[int, Covered], revealed: Mapping[int, Sequence[bytes]]
) -> NDArray[np.int64]:
    """Compute the sum of the values that have arrived, exactly.

    Args:
        circle: the clients of the sum.
        covered: what has arrived, by client.
        revealed: the answers of those, by client, for each of its neighbours in order; some may be missing.

    Raises:
        MessageError: naming the client whose share or key is wrong or missing.
    """
    check_pairs(circle, covered)
    total_D = np.zeros(len(next(iter(covered.values())).masked_D), np.uint64)
    for client_id, one in covered.items():
        total_D += one.masked_D
        total_D -= mask_of(_own_mask(circle, covered, revealed, client_id), len(total_D))
    for client_id, one in covered.items():
        for place, peer in enumerate(circle.neighbours(client_id)):
            if peer in covered:
                continue
            key = _answer(revealed, client_id, place)
            if key is None:
                raise MessageError(
                    f"expected client {client_id} to tell the mask that it has with client {peer}, which has dropped "
                    f"out, found no answer"
                )
            if mark_of(key) != one.pair_marks[place]:
                raise _wrong(client_id, peer)
            mask_D = mask_of(key, len(total_D))
            total_D = total_D - mask_D if peer > client_id else total_D + mask_D
    return total_D.view(np.int64)


def check_pairs(circle: Circle, covered: Mapping[int, Covered]) -> None:
    """Refuse values under masks that will not cancel, because two clients do not have the same.

    Raises:
        MessageError: naming both.
    """
    marks = {
        (client_id, peer): one.pair_marks[place]
        for client_id, one in covered.items()
        for place, peer in enumerate(circle.neighbours(client_id))
    }
    for (client_id, peer), mark in marks.items():
        if marks.get((peer, client_id), mark) != mark:
            low, high = sorted((client_id, peer))
            raise MessageError(
                f"expected clients {low} and {high} to have the same mask, found two: one was given a wrong public key "
                f"or has another secret than before"
            )


def _own_mask(
    circle: Circle, covered: Mapping[int, Covered], revealed: Mapping[int, Sequence[bytes]], client_id: int
) -> bytes:
    """Recover the key of a client's own mask from the shares of its neighbours."""
    one, peers = covered[client_id], circle.neighbours(client_id)
    least = least_shares(len(peers))
    shares: dict[int, int] = {}
    for position, (peer, mark) in enumerate(zip(peers, one.share_marks, strict=True), 1):
        share = _answer(revealed, peer, circle.neighbours(peer).index(client_id))
        if peer not in covered or share is None:
            continue
        if mark_of(share) != mark:
            raise _wrong(peer, client_id)
        if len(shares) < least:
            shares[position] = from_bytes(share)
    if len(shares) < least:
        raise MessageError(
            f"expected shares of client {client_id} from at least {least} of its {len(peers)} neighbours, found "
            f"{len(shares)}"
        )
    key = to_bytes(recovered(shares))
    if mark_of(key) != one.own_mark:
        raise MessageError(f"expected the shares of client {client_id} to be those of its mask, found others")
    return key


def _answer(revealed: Mapping[int, Sequence[bytes]], client_id: int, place: int) -> bytes | None:
    return revealed[client_id][place] if client_id in revealed else None


def _wrong(client_id: int, peer: int) -> MessageError:
    return MessageError(f"expected what client {client_id} was given for client {peer}, found another answer")
