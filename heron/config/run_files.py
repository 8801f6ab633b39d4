"""Directories of runs, and the search for them."""

from pathlib import Path

import tomli_w

from heron.config.overrides import from_toml, override, to_toml
from heron.config.problems import nearest
from heron.config.recipes import RECIPES
from heron.config.schema import RunConfig
from heron.errors import CheckpointError, ConfigError
from heron.files import write_atomically
from heron.runs.lock import LOCK, OWNER
from heron.runs.run_directory import RunDirectory
from heron.wire.groups import Settings
from heron.wire.plain import to_plain

OWN_NETWORK = "heron.train"
"""Stands in the place of a recipe's name for a run whose network and data came from Python."""


def is_folder_of_runs(source: str) -> bool:
    """Return whether a command's first word is a folder of runs, and no recipe.

    Args:
        source: name of a recipe, or a run directory or folder of them.

    Raises:
        ConfigError: if it is the name of a recipe and a folder with a run, or neither a recipe nor a folder.
    """
    folder = Path(source)
    if not folder.is_dir() and source not in RECIPES:
        what = "a file" if folder.exists() else f"neither{nearest(source, RECIPES)}"
        raise ConfigError(
            f"expected a recipe or a folder of runs, found {source!r}, which is {what}; recipes: {', '.join(RECIPES)}"
        )
    if source not in RECIPES or not folder.is_dir():
        return folder.is_dir()
    if any(folder.rglob(RunDirectory(folder).config.name)):
        raise ConfigError(
            f"expected a recipe or a folder of runs, found {source!r}, which is both; write "
            f"./{source} for the folder, or give it another name for the recipe"
        )
    return False


def read_config(directory: Path) -> RunConfig:
    """The configuration a run directory was made with.

    Raises:
        CheckpointError: if the folder is not a run directory.
    """
    path = RunDirectory(directory).config
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"expected a run in {directory}, found no readable config.toml; name the folder of a run"
        ) from error
    if text.startswith(f'recipe = "{OWN_NETWORK}"\n'):
        raise CheckpointError(
            f"expected the run of a recipe in {directory}, found one of heron.train, whose network and data are not in "
            f"its files; go on in Python: the same call with this folder as out returns the trained network, and "
            f"heron.audit.make_view takes it"
        )
    return from_toml(text)


def write_config(directory: Path, config: RunConfig) -> None:
    """Save the complete configuration: the first file of a run directory.

    Args:
        directory: the run directory.
        config: the configuration.
    """
    write_atomically(RunDirectory(directory).config, to_toml(config).encode())


def write_settings(directory: Path, algorithm: str, settings: Settings) -> None:
    """Save the settings of a run of `heron.train`, for those who read its results."""
    values = {"recipe": OWN_NETWORK, "algorithm": algorithm, **to_plain(settings)}
    write_atomically(RunDirectory(directory).config, tomli_w.dumps(values).encode())


def with_rounds(config: RunConfig, rounds: int) -> RunConfig:
    """The configuration of the same run with another number of rounds.

    Args:
        config: of the run.
        rounds: the new number.

    Raises:
        ConfigError: if the rounds that are done would have had other step sizes or other noise.
    """
    if rounds != config.rounds and config.privacy.fixes_rounds:
        raise ConfigError(
            f"expected rounds={config.rounds} for this run, found {rounds}: its noise was found for the budget "
            f"privacy.epsilon={config.privacy.budget:g} and as many rounds; start a new run, or set privacy.noise"
        )
    if rounds != config.rounds and config.client.schedule != "constant":
        raise ConfigError(
            f"expected rounds={config.rounds} for this run, found {rounds}: with client.schedule="
            f"{config.client.schedule} the step sizes of all rounds depend on their number; start a new run, or use "
            f"client.schedule=constant"
        )
    return override(config, [f"rounds={rounds}"])


def replace_config(directory: Path, config: RunConfig) -> None:
    """Save the configuration of a run that may have begun; with more rounds than before it is no longer complete.

    Args:
        directory: the run directory, locked.
        config: as `with_rounds` returned it, or that of a new run.

    Raises:
        ConfigError: if more rounds are done.
        CheckpointError: if a file cannot be read or written.
    """
    run = RunDirectory(directory)
    done = len(run.read_metrics())
    if config.rounds < done:
        raise ConfigError(f"expected rounds of at least the {done} that are done in {directory}, found {config.rounds}")
    if config.rounds > done:
        run.summary.unlink(missing_ok=True)
    write_config(directory, config)


def refuse_occupied(directory: Path, advice: str = "") -> None:
    """Refuse a folder that holds something already.

    Args:
        directory: the folder; it need not exist.
        advice: what can be done beside choosing another.

    Raises:
        CheckpointError: if it does.
    """
    # A lock, and what a crash left of a file being written aside, are nothing to lose.
    found = directory.iterdir() if directory.is_dir() else ()
    entries = [entry for entry in found if entry.suffix != ".tmp" and entry.name not in {LOCK, OWNER}]
    if directory.is_file() or entries:
        raise CheckpointError(f"{directory} is not empty; choose another --out{advice}")


def free_folder(wanted: Path) -> Path:
    """The folder, or the first of `NAME-2`, `NAME-3`, ... that does not exist."""
    folder, number = wanted, 2
    while folder.exists():
        folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return folder
