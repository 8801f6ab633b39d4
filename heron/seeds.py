"""The one pure function that turns names and counters into seeds; all randomness in `heron` comes from it.

The process-wide generators of torch, numpy and Python are never read. A seed is the BLAKE2b hash of a domain
and a tuple of integers, so (seed 17, probe 0) and (seed 16, probe 1) have nothing in common, and 0 is a seed
like any other.
"""

import hashlib
import struct
from dataclasses import dataclass

_PERSON = b"heron/seeds/v1"


def derive_seed(domain: str, *fields: int) -> int:
    """Hash a domain and counters into a 64-bit seed.

    Args:
        domain: purpose of the seed, e.g. `"direction"`, `"batches"`, `"init"`; 1 to 32 ASCII characters.
        fields: counters in the order the domain defines, e.g. (run seed, round, client, local step, probe); each a
            signed 64-bit integer.

    Returns:
        An integer in [0, 2**64).

    Raises:
        ValueError: if the domain is empty or too long, or a field does not fit 64 bits.

    Examples:
        >>> derive_seed("direction", 0, 3, 1, 0, 0) == derive_seed("direction", 0, 3, 1, 0, 0)
        True
        >>> derive_seed("direction", 17, 0) == derive_seed("direction", 16, 1)
        False
    """
    name = domain.encode("ascii")
    if not 0 < len(name) <= 32:
        raise ValueError(f"a seed domain has 1 to 32 ASCII characters, found {domain!r}")
    try:
        packed = struct.pack(f"<{len(fields)}q", *fields)
    except struct.error as error:
        raise ValueError(f"seed fields must be signed 64-bit integers, found {fields}") from error
    key = len(name).to_bytes(1) + name + packed
    return int.from_bytes(hashlib.blake2b(key, digest_size=8, person=_PERSON).digest(), "little")


@dataclass(frozen=True)
class StepKey:
    """The place of a local step in a run: everything random in the step is a function of it.

    Attributes:
        run_seed: seed of the run.
        round_index: from 0.
        client_id: from 0.
        local_step: from 0 within the round.
    """

    run_seed: int
    round_index: int
    client_id: int
    local_step: int

    def seed(self, domain: str, *fields: int) -> int:
        """Derive the seed of one purpose within this step, e.g. `key.seed("direction", probe)`."""
        return derive_seed(domain, self.run_seed, self.round_index, self.client_id, self.local_step, *fields)
