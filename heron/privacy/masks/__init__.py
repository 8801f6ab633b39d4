"""Sums that no server sees the parts of: masks between pairs of clients that cancel, and their recovery after dropouts.

The protocol is that of Bonawitz et al. (CCS 2017) in two messages a round, on the sparse graph of Bell et al. (CCS
2020). Client i sends, in fixed point modulo 2^64,

    y_i = x_i + PRG(b_i) + sum_{j in N(i), j > i} PRG(k_ij) - sum_{j in N(i), j < i} PRG(k_ij)

with k_ij from a key agreement of the two for this round, and b_i of its own, of which each neighbour gets a Shamir
share, sealed. Afterwards each client answers for every neighbour EITHER the share of b_j, if y_j has arrived, OR k_ij,
if it has not. With these the server removes what does not cancel, and is left with the sum.

It holds against servers that look at everything and follow the protocol, and against fewer than `threshold` neighbours
of a client who help them. NumPy, and `cryptography` (extra `privacy`). Read in this order: `fixed_point`, `sharing`,
`keys`, `circle`, `member`, `recovery`.
"""

from heron.privacy.masks.circle import LEAST_MEMBERS, Circle
from heron.privacy.masks.keys import KeyPair, check_cryptography
from heron.privacy.masks.member import Covered, Member
from heron.privacy.masks.recovery import unmasked_sum

__all__ = ["LEAST_MEMBERS", "Circle", "Covered", "KeyPair", "Member", "check_cryptography", "unmasked_sum"]
