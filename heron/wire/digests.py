"""A short digest of parameters, by which two sides see that they hold the same bits."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def digest_of(tensors: Mapping[str, Tensor]) -> int:
    """BLAKE2b of the tensors' bytes in the order of the mapping, as an integer in [1, 2**63).

    Args:
        tensors: by name; floating tensors of the same shapes on both sides.
    """
    digest = hashlib.blake2b(digest_size=8, person=b"heron/digest/v1")
    for tensor in tensors.values():
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return int.from_bytes(digest.digest(), "little") >> 1 or 1
