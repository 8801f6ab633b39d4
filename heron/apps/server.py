"""The server app: `flwr run` starts it on the SuperLink."""

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heron.config import (
    RunConfig,
    build_servers,
    fingerprint,
    free_folder,
    load_splits,
    read_config,
    recipe_config,
    refuse_occupied,
    replace_config,
    resolve_budget,
    with_rounds,
)
from heron.errors import ConfigError
from heron.flower import make_server_app
from heron.flower.log import say
from heron.flower.server_app import ServerPlan
from heron.runs.lock import locked

_TEXTS = ("recipe", "algorithm", "set", "out", "resume")


@contextmanager
def plan_run(run_config: Mapping[str, Any]) -> Iterator[ServerPlan]:
    """Plan the run: its configuration and its directory, which is locked while the block runs.

    Args:
        run_config: values of `[tool.flwr.app.config]` with the changes of `flwr run --run-config`: `recipe`,
            `algorithm`, `rounds` (0 for the recipe's), `set` (`key=value` pairs as after `heron train --set`, separated
            by blanks), `out` (the run directory; empty for a new one in `runs`), `resume` (a run directory to continue;
            all keys but `rounds` and the deployment's own are taken from it; empty for a new run).

    Raises:
        HeronError: if the configuration, the data or the directory is not usable, or another process is at work in it.
    """
    rounds = run_config.get("rounds", 0)
    if type(rounds) is not int or rounds < 0:
        raise ConfigError(f"expected rounds as an integer, 0 for the recipe's, found {rounds!r}")
    texts = {key: _text(run_config, key) for key in _TEXTS}
    if texts["resume"]:
        directory = Path(texts["resume"])
        config = with_rounds(read_config(directory), rounds) if rounds else read_config(directory)
    else:
        config = resolve_budget(_configured(texts, rounds))
        name = f"{config.recipe}-{config.algorithm}-seed{config.seed}"
        directory = Path(texts["out"]) if texts["out"] else free_folder(Path("runs") / name)
        refuse_occupied(directory, f", or continue it with --run-config 'resume=\"{directory}\"'")
    _refuse_simulated_time(config)
    splits = load_splits(config)
    servers = build_servers(config, splits)
    with locked(directory, lambda line: say(line, level=logging.WARNING)):
        replace_config(directory, config)
        yield ServerPlan(
            servers=servers,
            splits=splits,
            fingerprint=fingerprint(config),
            rounds=config.rounds,
            evaluation_period=config.evaluation_period,
            directory=directory,
        )


def _configured(texts: Mapping[str, str], rounds: int) -> RunConfig:
    try:
        assignments = shlex.split(texts["set"])
    except ValueError as error:
        raise ConfigError(
            f"expected set as key=value pairs separated by blanks, found {texts['set']!r} ({error})"
        ) from error
    return recipe_config(texts["recipe"], texts["algorithm"], assignments + [f"rounds={rounds}"] * (rounds > 0))


def _refuse_simulated_time(config: RunConfig) -> None:
    if config.link.takes_time:
        raise ConfigError(
            "expected no rates, latency, speeds or profile in link.* on Flower, where rounds take real time, "
            "found some; leave them out, or simulate time with heron train"
        )


def _text(run_config: Mapping[str, Any], key: str) -> str:
    value = run_config.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"expected {key} as text, found {value!r}")
    return value


app = make_server_app(plan_run)
