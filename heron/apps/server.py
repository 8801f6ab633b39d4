"""The server app: `flwr run` starts it on the SuperLink."""

import shlex
from collections.abc import Mapping
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
    resolve_budget,
    write_config,
)
from heron.errors import ConfigError
from heron.flower import make_server_app
from heron.flower.server_app import ServerPlan

_TEXTS = ("recipe", "algorithm", "set", "out", "resume")


def plan_run(run_config: Mapping[str, Any]) -> ServerPlan:
    """Plan the run: its configuration and its directory.

    Args:
        run_config: values of `[tool.flwr.app.config]` with the changes of `flwr run --run-config`: `recipe`,
            `algorithm`, `rounds` (0 for the recipe's), `set` (`key=value` pairs as after `heron train --set`, separated
            by blanks), `out` (the run directory; empty for a new one in `runs`), `resume` (a run directory to continue;
            all keys but the deployment's own are taken from it; empty for a new run).

    Raises:
        HeronError: if the configuration, the data or the directory is not usable.
    """
    texts = {key: _text(run_config, key) for key in _TEXTS}
    if texts["resume"]:
        directory = Path(texts["resume"])
        config = read_config(directory)
    else:
        config = resolve_budget(_configured(texts, run_config.get("rounds", 0)))
        name = f"{config.recipe}-{config.algorithm}-seed{config.seed}"
        directory = Path(texts["out"]) if texts["out"] else free_folder(Path("runs") / name)
        refuse_occupied(directory, f", or continue it with --run-config 'resume=\"{directory}\"'")
    _refuse_simulated_time(config)
    splits = load_splits(config)
    servers = build_servers(config, splits)
    write_config(directory, config)
    return ServerPlan(
        servers=servers,
        splits=splits,
        fingerprint=fingerprint(config),
        rounds=config.rounds,
        evaluation_period=config.evaluation_period,
        directory=directory,
    )


def _configured(texts: Mapping[str, str], rounds: Any) -> RunConfig:
    if type(rounds) is not int or rounds < 0:
        raise ConfigError(f"expected rounds as an integer, 0 for the recipe's, found {rounds!r}")
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
