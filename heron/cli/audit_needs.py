"""Needs of attacks that a configuration tells of: what cannot be made is refused before anything is trained."""

from collections.abc import Callable, Sequence

from heron.algorithms import ALGORITHMS
from heron.config import RunConfig
from heron.errors import ConfigError

_OF_NUMBERS = "inputs that are numbers, found texts, which `tokens` reads"


def check_needs(asked: Sequence[str], configs: Sequence[RunConfig]) -> None:
    """Refuse attacks of which none can be made on any run; what only data tell is found out by trying.

    Args:
        asked: names of attacks that were asked for; may be none.
        configs: of the runs, at least one.

    Raises:
        ConfigError: naming what each attack lacks.
    """
    if not asked or any(lacks(name, config) is None for name in asked for config in configs):
        return
    raise ConfigError("; ".join(f"expected for {name} {lacks(name, configs[0])}" for name in asked))


def lacks(name: str, config: RunConfig) -> str | None:
    """Say what an attack lacks in a run.

    Args:
        name: of the attack.
        config: of the run.

    Returns:
        What was expected, found, and is to be done; None if nothing is missing, as far as the configuration tells.
    """
    if (need := _OWN.get(name)) is not None:
        return need(config)
    if name == "membership":
        return None
    if ALGORITHMS[config.algorithm].uploads == "never":
        return f"smashed data, found {config.algorithm}, which uploads none: take another algorithm"
    if name == "tokens":
        return None if config.data.needs_tokenizer else f"texts, found {config.data.name}: take a recipe with texts"
    return _OF_NUMBERS if config.data.needs_tokenizer and name != "labels" else None


def _of_canaries(config: RunConfig) -> str | None:
    return None if config.privacy.is_on else "a claim of privacy, found none: set privacy.epsilon or privacy.noise"


def _of_scalars(config: RunConfig) -> str | None:
    sends = ALGORITHMS[config.algorithm].learning(config).sends_scalars
    return None if sends else "update=scalars, found dense updates: set it, with an algorithm that probes"


_OWN: dict[str, Callable[[RunConfig], str | None]] = {"canaries": _of_canaries, "scalars": _of_scalars}
