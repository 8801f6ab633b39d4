"""Directories of runs, and the search for them."""

from pathlib import Path

from heron.config.overrides import from_toml, to_toml
from heron.config.schema import RunConfig
from heron.errors import CheckpointError
from heron.files import write_atomically
from heron.runs.run_directory import RunDirectory


def read_config(directory: Path) -> RunConfig:
    """The configuration a run directory was made with.

    Raises:
        CheckpointError: if the folder is not a run directory.
    """
    path = RunDirectory(directory).config
    try:
        return from_toml(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"nothing to resume in {directory}: expected a readable config.toml in it") from error


def write_config(directory: Path, config: RunConfig) -> None:
    """Save the complete configuration: the first file of a run directory.

    Args:
        directory: the run directory.
        config: the configuration.
    """
    write_atomically(RunDirectory(directory).config, to_toml(config).encode())


def refuse_occupied(directory: Path, advice: str = "") -> None:
    """Refuse a folder that holds something already.

    Args:
        directory: the folder; it need not exist.
        advice: what can be done beside choosing another.

    Raises:
        CheckpointError: if it does.
    """
    # What a crash left of a file being written aside is nothing to lose.
    entries = [entry for entry in directory.iterdir() if entry.suffix != ".tmp"] if directory.is_dir() else []
    if directory.is_file() or entries:
        raise CheckpointError(f"{directory} is not empty; choose another --out{advice}")


def free_folder(wanted: Path) -> Path:
    """The folder, or the first of `NAME-2`, `NAME-3`, ... that does not exist."""
    folder, number = wanted, 2
    while folder.exists():
        folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return folder
