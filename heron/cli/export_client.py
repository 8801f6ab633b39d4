"""`heron export-client`: the clients of a recipe or a run as a bundle for devices without PyTorch."""

import sys
from pathlib import Path

import numpy as np
import torch

from heron.config import RunConfig, build_servers, load_splits, recipe_config, use_threads_and_device
from heron.config.run_files import read_config
from heron.data import fetch, num_examples
from heron.errors import ConfigError
from heron.export import export_client

_NUM_EXAMPLES = 6


def export_client_command(source: str, algorithm: str | None, assignments: list[str], out: Path) -> None:
    """Export, check and write the bundle.

    Args:
        source: name of a recipe, or a run directory.
        algorithm: of a recipe; heron by default.
        assignments: changes of a recipe.
        out: folder of the bundle.
    """
    config = _config(source, algorithm, assignments)
    use_threads_and_device(config)
    splits = load_splits(config)
    servers = build_servers(config, splits)
    positions = np.resize(np.arange(num_examples(splits.train)), _NUM_EXAMPLES)
    example = fetch(splits.train, positions, torch.device("cpu"))
    manifest = export_client(servers.split.cpu(), servers.terms, example, out, criterion=config.split.criterion)
    size = sum(file.size for file in manifest.files)
    sys.stdout.write(f"{out}: {len(manifest.files) + 1} files, {size:,} bytes, checked against PyTorch\n")


def _config(source: str, algorithm: str | None, assignments: list[str]) -> RunConfig:
    if not Path(source).is_dir():
        return recipe_config(source, algorithm or "heron", assignments)
    if algorithm is not None or assignments:
        raise ConfigError("a run's directory says everything; drop --algorithm and --set")
    return read_config(Path(source))
