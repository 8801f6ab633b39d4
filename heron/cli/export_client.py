"""`heron export-client`: the clients of a recipe or a run as a bundle for devices without PyTorch."""

import sys
from pathlib import Path

from heron.config import RunConfig, export_clients, is_folder_of_runs, recipe_config
from heron.config.run_files import read_config
from heron.errors import ConfigError


def export_client_command(source: str, algorithm: str | None, assignments: list[str], out: Path) -> None:
    """Export, check and write the bundle.

    Args:
        source: name of a recipe, or a run directory.
        algorithm: of a recipe; heron by default.
        assignments: changes of a recipe.
        out: folder of the bundle.
    """
    manifest = export_clients(_config(source, algorithm, assignments), out)
    size = sum(file.size for file in manifest.files)
    sys.stdout.write(f"{out}: {len(manifest.files) + 1} files, {size:,} bytes, checked against PyTorch\n")


def _config(source: str, algorithm: str | None, assignments: list[str]) -> RunConfig:
    if not is_folder_of_runs(source):
        return recipe_config(source, algorithm or "heron", assignments)
    if algorithm is not None or assignments:
        raise ConfigError("a run's directory says everything; drop --algorithm and --set")
    return read_config(Path(source))
