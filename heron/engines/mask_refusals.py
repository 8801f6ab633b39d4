"""Settings and networks that sums under masks cannot be made with, refused before anything is built."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from heron.algorithms import Algorithm
from heron.errors import ConfigError, SplitError
from heron.privacy.masks import LEAST_MEMBERS, check_cryptography
from heron.wire.groups import Settings
from heron.wire.terms import TensorTerm
from heron.wire.walks import schedule_of


def check_mask_settings(algorithm: Algorithm, settings: Settings) -> None:
    """Refuse settings whose sums could not be told, or would hide nothing.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the training.

    Raises:
        ConfigError: naming the key.
        MissingExtraError: if `cryptography` is not installed.
    """
    if not settings.secure_sum:
        return
    learning = algorithm.learning(settings)
    if algorithm.answers is not None or learning.candidates or not algorithm.orders(learning).probes:
        reason = "its clients wait for answers" if algorithm.answers is not None else "its replies are no walks"
        raise ConfigError(
            f"expected secure_sum=false with {algorithm.name}, found true: {reason}; leave it out, or choose heron or "
            f"decomfl"
        )
    for allowed, found, holds, reason in _expected(learning.settings):
        if not holds:
            raise ConfigError(
                f"expected {allowed} with secure_sum, found {str(found).lower()}: {reason}; set it, or secure_sum=false"
            )
    check_cryptography()


def _expected(known: Settings) -> tuple[tuple[str, Any, bool, str], ...]:
    """Return what sums need: allowed values, the one found, whether it is one, and why."""
    fed_server = known.fed_server
    return (
        ("update=scalars", known.update, known.update == "scalars", "sums are of scalars"),
        (
            "seed_groups of at least 1",
            known.seed_groups,
            known.seed_groups > 0,
            "clients share no directions to add along",
        ),
        ("update_codec=fp32", known.update_codec, known.update_codec == "fp32", "masked values are integers"),
        (
            "fed_server.aggregation=mean",
            fed_server.aggregation,
            fed_server.aggregation == "mean",
            "no server sees the values of one client, which a robust mean compares",
        ),
        (
            "fed_server.max_norm=0",
            fed_server.max_norm,
            not fed_server.max_norm,
            "no server sees the values of one client, which it would bound",
        ),
        (
            "fed_server.max_scalar=0",
            fed_server.max_scalar,
            not fed_server.max_scalar,
            "no server sees the values of one client, which it would bound",
        ),
        (
            "client.local_steps of at least 1",
            known.client.local_steps,
            known.client.local_steps > 0,
            "the length of a pass differs between clients, and tells how many examples they have",
        ),
    )


def check_mask_tensors(tensors: Iterable[TensorTerm]) -> None:
    """Refuse integers next to the scalars, of which no mean is taken.

    Args:
        tensors: what travels.

    Raises:
        SplitError: naming the first.
    """
    for term in tensors:
        if term.role in ("trained", "buffer", "unit_buffer") and "float" not in term.dtype:
            raise SplitError(
                f"expected tensors of floating type next to the scalars with secure_sum, found {term.name!r} of "
                f"{term.dtype}, as BatchNorm counts its batches; use GroupNorm or LayerNorm, e.g. split.norm=group "
                f"where a recipe has it, or set secure_sum=false"
            )


def check_mask_members(settings: Settings, participants: Sequence[Sequence[int]]) -> None:
    """Refuse rounds in which a seed group has so few clients that its sum tells what one of them did.

    Args:
        settings: of the run, as the algorithm leaves them.
        participants: the clients of each round.

    Raises:
        ConfigError: naming the first round and group.
    """
    if not settings.secure_sum:
        return
    for round_index, members in enumerate(participants):
        sizes = Counter(schedule_of(client_id, settings.seed_groups) for client_id in members)
        group, size = min(sizes.items(), key=lambda pair: pair[1])
        if size < LEAST_MEMBERS:
            raise ConfigError(
                f"expected at least {LEAST_MEMBERS} clients of a seed group in a round with secure_sum, found {size} "
                f"of group {group} in round {round_index + 1}; raise clients.total or clients.per_round, or lower "
                f"seed_groups"
            )
