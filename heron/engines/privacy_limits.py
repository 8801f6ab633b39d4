"""Limits of a run's guarantee that its figures do not tell by themselves."""

from collections.abc import Sequence

from heron.wire.groups import Settings

_SAYS_LITTLE = 10.0
"""Epsilon from which the odds that an example was there may change by a factor of more than 20,000."""


def limits_of(settings: Settings, sizes: Sequence[int], epsilon: float) -> list[str]:
    """Write what weakens a guarantee, one sentence each; none if nothing does.

    Args:
        settings: of the run.
        sizes: number of examples of each client.
        epsilon: against those who do not see batches, of the client that has spent most.
    """
    found = []
    if epsilon > _SAYS_LITTLE:
        found.append(
            f"An epsilon of {epsilon:.3g} says next to nothing: the odds that an example was there may change by a "
            f"factor of exp({epsilon:.3g})."
        )
    batch_size, smallest = settings.client.batch_size, min(sizes)
    if settings.privacy.sampling == "poisson" and batch_size >= smallest:
        found.append(
            f"Sampling hides nothing of a client with {smallest} examples: all are in every step, with "
            f"client.batch_size={batch_size}."
        )
    return found
