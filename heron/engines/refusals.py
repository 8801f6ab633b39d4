"""Settings that contradict each other or the algorithm, refused before anything is built."""

from heron.algorithms import Algorithm
from heron.engines.mask_refusals import check_mask_settings
from heron.engines.privacy_refusals import check_private_settings
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
    """Refuse what an algorithm has no place for; what depends on the network is checked with it.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the training.

    Raises:
        ConfigError: naming the key.
    """
    _check_auxiliary(algorithm, settings)
    _check_codec(algorithm, settings)
    _check_obfuscation(algorithm, settings)
    _check_coupled(algorithm, settings)
    _check_learning(algorithm, settings)
    check_private_settings(algorithm, settings)
    check_mask_settings(algorithm, settings)


def check_one_boundary(algorithm: Algorithm, settings: Settings) -> None:
    """Refuse boundaries that differ where the terms of all clients are one object.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the training.

    Raises:
        ConfigError: naming the key.
    """
    client = settings.client
    for key, found in (("client.exact", client.exact), ("client.memory_budget", client.memory_budget)):
        if algorithm.has_boundary and found == "device":
            raise ConfigError(
                f"expected {key} as a number here, found device: clients have boundaries of their own in heron train, "
                f"heron compare and heron.train; set one for all"
            )


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


def _check_obfuscation(algorithm: Algorithm, settings: Settings) -> None:
    """Refuse noise and clips on smashed data that nobody uploads, or that clients wait for gradients at."""
    smashed = settings.smashed
    if smashed.noise and not smashed.clip:
        raise ConfigError(
            f"expected smashed.clip above 0 with smashed.noise, found 0: without a bound an example can be as loud as "
            f"it likes; set it, or smashed.noise=0 (found {smashed.noise:g})"
        )
    if not smashed.clip or (algorithm.answers is None and algorithm.uploads != "never"):
        return
    reason = "its clients upload nothing" if algorithm.uploads == "never" else "its clients wait for answers to uploads"
    raise ConfigError(
        f"expected smashed.clip=0 and smashed.noise=0 with {algorithm.name}, found {smashed.clip:g} and "
        f"{smashed.noise:g}: {reason}; leave both, or choose an algorithm with decoupled rounds, such as heron"
    )


def _check_coupled(algorithm: Algorithm, settings: Settings) -> None:
    """Clients that wait for answers can neither bundle uploads nor be served old ones."""
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


def _check_learning(algorithm: Algorithm, settings: Settings) -> None:
    """Layer groups learn by themselves: what looks at the client as a whole has no place."""
    asked, learning = settings.client.learning, algorithm.learning(settings)
    client = learning.client
    if asked not in ("zeroth_order", client.learning):
        raise ConfigError(
            f"expected client.learning={client.learning} with {algorithm.name}, found {asked}: its clients learn in "
            f"one way; leave it out, or choose heron"
        )
    if client.learning == "zeroth_order":
        return
    reasons = {
        "update": (learning.settings.update, "dense", "each layer group has scalars of its own, and none replays them"),
        "client.runtime": (client.runtime, "torch", "a client of layer groups has no export"),
    }
    for key, (found, wanted, reason) in reasons.items():
        if found != wanted:
            raise ConfigError(
                f"expected {key}={wanted} with client.learning={client.learning} ({algorithm.name}), found {found}: "
                f"{reason}; set it, or client.learning=zeroth_order"
            )
    if client.exact == "all":
        raise ConfigError(
            f"expected client.exact to leave layers to client.learning={client.learning}, found all; lower it, or "
            f"choose cse_fsl"
        )


def check_client_settings(algorithm: Algorithm, settings: Settings, replays: bool) -> None:
    """Refuse scalar updates of clients that could not be replayed.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: all groups of settings.
        replays: whether something on a client is to be replayed from scalars.

    Raises:
        ConfigError: naming the key.
    """
    learning = algorithm.learning(settings)
    if not learning.sends_scalars:
        return
    if not replays:
        if settings.update == "dense":  # the algorithm's own choice, and nothing is below its order boundary
            return
        raise ConfigError(
            f"{algorithm.name}: expected update=dense, found scalars: nothing on its clients learns by zeroth "
            f"order; leave it dense, or choose heron with probes below its order boundary"
        )
    rule = learning.client.optimizer
    if learning.client.keep_state and rule != "sgd":
        raise ConfigError(
            f"expected client.keep_state=false with update=scalars, found true with {rule}: the Fed "
            f"Server replays a round from its start and knows no older state; set it, or update=dense"
        )
