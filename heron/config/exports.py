"""The export of a configuration's clients, for devices without PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from heron.config.costs import resolve_budget
from heron.config.parts import load_splits, use_threads_and_device
from heron.config.schema import RunConfig
from heron.config.sides import build_servers
from heron.data import fetch, num_examples
from heron.export import export_client

if TYPE_CHECKING:
    from heron.client.onnx_runtime.manifest import Manifest

_NUM_EXAMPLES = 6


def export_clients(config: RunConfig, folder: Path) -> "Manifest":
    """Write the client of a configuration as a bundle, and compare it with PyTorch on the spot.

    Args:
        config: the run; its data are read, because a few examples are needed. Its budget of memory is resolved.
        folder: of the bundle.

    Returns:
        The manifest of the bundle.

    Raises:
        HeronError: if data or network do not work out, or the client cannot be exported.
        MissingExtraError: if the libraries of the export are not installed.
    """
    config = resolve_budget(config)
    use_threads_and_device(config)
    splits = load_splits(config)
    servers = build_servers(config, splits)
    positions = np.resize(np.arange(num_examples(splits.train)), _NUM_EXAMPLES)
    example = fetch(splits.train, positions, torch.device("cpu"))
    return export_client(
        servers.split.cpu(),
        servers.terms,
        example,
        folder,
        criterion=config.split.criterion,
        pixels=config.data.pixels,
    )
