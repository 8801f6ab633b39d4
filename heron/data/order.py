"""Order of a client's examples, which depends only on a seed; imports no torch.

`B` examples of a batch, `n` examples of a client or data set.
"""

from collections.abc import Iterator

import numpy as np

from heron.errors import DataError


def batch_indices(
    num_examples: int, batch_size: int, num_steps: int | None, seed: int, *, joins: bool = False
) -> Iterator[np.ndarray]:
    """Draw the positions of the examples of each local step: shuffled passes, divided into batches.

    Args:
        num_examples: n, >= 1.
        batch_size: B, >= 1; the last batch of a pass may be smaller.
        num_steps: number of batches, >= 1, from as many shuffled passes as needed; None for exactly one pass.
        seed: integer >= 0 that determines the order; callers derive it from (run seed, client, round).
        joins: whether a pass's last batch joins the one before if it has a single example.

    Returns:
        Iterator over positions in [0, n), int64, shape (B,) or less; (B + 1,) where a batch was joined.

    Raises:
        DataError: if a number is out of range; raised by the call, not by the first batch.
    """
    _check_plan(num_examples, batch_size, num_steps)
    return _passes(num_examples, _starts(num_examples, batch_size, joins), num_steps, seed)


def num_local_steps(num_examples: int, batch_size: int, num_steps: int | None, *, joins: bool = False) -> int:
    """Number of batches that `batch_indices` yields: ceil(n / B) for a pass, or one less, else `num_steps`.

    Args:
        num_examples: n, >= 1.
        batch_size: B, >= 1.
        num_steps: number of batches, >= 1; None for one pass.
        joins: as of `batch_indices`.

    Raises:
        DataError: if a number is out of range.
    """
    _check_plan(num_examples, batch_size, num_steps)
    return len(_starts(num_examples, batch_size, joins)) if num_steps is None else num_steps


def num_batched(num_examples: int, batch_size: int, num_steps: int, *, joins: bool = False) -> int:
    """Number of examples in the first `num_steps` batches of `batch_indices`; each pass counts its examples again.

    Args:
        num_examples: examples of a client, n >= 1.
        batch_size: examples per batch, B >= 1.
        num_steps: number of batches, >= 0.
        joins: as of `batch_indices`.
    """
    passes, rest = divmod(num_steps, num_local_steps(num_examples, batch_size, None, joins=joins))
    return passes * num_examples + rest * batch_size


def has_single(num_examples: int, batch_size: int) -> bool:
    """Return whether the last batch of a pass has one example, and one before it to join."""
    return num_examples > batch_size > 1 and num_examples % batch_size == 1


def _starts(num_examples: int, batch_size: int, joins: bool) -> range:
    """Positions in a pass at which a batch begins."""
    return range(0, num_examples - (joins and has_single(num_examples, batch_size)), batch_size)


def _passes(num_examples: int, starts: range, num_steps: int | None, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    ends = [*starts[1:], num_examples]
    served = 0
    while True:
        order = generator.permutation(num_examples)
        for start, end in zip(starts, ends, strict=True):
            yield order[start:end]
            served += 1
            if served == num_steps:
                return
        if num_steps is None:
            return


def _check_plan(num_examples: int, batch_size: int, num_steps: int | None) -> None:
    if num_examples < 1:
        raise DataError(f"expected a client with at least 1 example, found {num_examples}; lower clients.total")
    if batch_size < 1:
        raise DataError(f"expected batches of at least 1 example, found {batch_size}; raise client.batch_size")
    if num_steps is not None and num_steps < 1:
        raise DataError(f"expected at least 1 local step, found {num_steps}; raise client.local_steps")
