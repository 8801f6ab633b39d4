"""The examples of each local step of a client's round: shuffled passes, or a draw from its secret."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from heron.data.order import batch_indices
from heron.privacy.vault import Vault
from heron.seeds import derive_seed
from heron.wire.terms import Terms

BATCH = "batch"
"""Purpose of the draws of batches from a secret."""


def step_positions(
    terms: Terms, vault: Vault | None, num_examples: int, round_index: int, client_id: int
) -> Iterator[NDArray[np.int64]]:
    """Draw the positions of the examples of each local step.

    Args:
        terms: of the run.
        vault: keeps the secret that private batches are drawn from.
        num_examples: n of the client.
        round_index: t, from 0.
        client_id: from 0.

    Returns:
        Iterator over positions in [0, n), shape (B,); B varies and may be 0 where privacy.sampling is `poisson`.
    """
    settings, client = terms.settings, terms.settings.client
    if settings.privacy.draws_batches:
        assert vault is not None  # whoever makes private clients gives them one
        secret, rate = vault.releasing(client_id), min(1.0, client.batch_size / num_examples)
        steps = range(client.local_steps)
        return (secret.chosen(num_examples, rate, BATCH, round_index, step) for step in steps)
    seed = derive_seed("batches", settings.seed, client_id, round_index)
    joins = terms.joins(num_examples)
    return batch_indices(num_examples, client.batch_size, client.local_steps or None, seed, joins=joins)


def fits_upload(terms: Terms, size: int) -> bool:
    """Return whether a batch of that size can be uploaded: the Main Server may need two examples, and always one.

    Args:
        terms: of the run.
        size: B.
    """
    return size >= (1 if terms.pairs == "none" else 2)
