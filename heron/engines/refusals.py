"""Settings that contradict each other or the algorithm, refused before anything is built."""

from heron.algorithms import Algorithm
from heron.errors import ConfigError
from heron.wire.groups import Settings


def check_optimizer(algorithm: Algorithm, settings: Settings) -> None:
    """Refuse an update rule that an algorithm's clients do not have.

    Raises:
        ConfigError: naming the key.
    """
    rule, known = settings.client.optimizer, algorithm.optimizers
    if rule not in known:
        raise ConfigError(
            f"{algorithm.name}: expected client.optimizer of {', '.join(known)}, found {rule}; set it to one of these"
        )


def check_settings(algorithm: Algorithm, settings: Settings) -> None:
    """Refuse settings that an algorithm cannot use; those that depend on the network are checked with it.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the training.

    Raises:
        ConfigError: naming the key.
    """
    _check_auxiliary(algorithm, settings)
    _check_codec(algorithm, settings)
    _check_coupled(algorithm, settings)


def _check_auxiliary(algorithm: Algorithm, settings: Settings) -> None:
    if settings.server.refresh_auxiliary and not algorithm.trains_auxiliary:
        raise ConfigError(
            f"expected server.refresh_auxiliary=false with {algorithm.name}, found true: its clients train no "
            f"auxiliary network; leave it false or choose an algorithm whose clients do, such as heron"
        )


def _check_codec(algorithm: Algorithm, settings: Settings) -> None:
    smashed = settings.smashed
    if smashed.packs and algorithm.answers == "loss":
        raise ConfigError(
            f"expected smashed.codec=fp32 and smashed.zstd=false with {algorithm.name}, found {smashed.codec} and "
            f"{str(smashed.zstd).lower()}: rounding would drown the differences of its probes' losses; leave both or "
            f"choose another algorithm"
        )


def _check_coupled(algorithm: Algorithm, settings: Settings) -> None:
    """Refuse bundles and re-used uploads for clients that wait for an answer to each upload."""
    if algorithm.answers is None:
        return
    reuse, bundle = settings.server.reuse, settings.link.bundle
    for key, found, wanted in (("server.reuse", reuse, 0), ("link.bundle", bundle, False)):
        if found != wanted:
            raise ConfigError(
                f"expected {key}={str(wanted).lower()} with {algorithm.name}, found {str(found).lower()}: its clients "
                f"wait for the answer to each upload; leave it or choose an algorithm with decoupled rounds, such as "
                f"heron"
            )
