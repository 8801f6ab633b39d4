from pathlib import Path

import numpy as np
import pytest

from heron.arrays import to_host
from heron.config import export_clients, load_splits
from heron.config.build import client_shares
from heron.data import fetch
from tests.flower.lean_parties import RUNS, config_of


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A bundle of each kind, and each client's share of the digits in a file."""
    folder = tmp_path_factory.mktemp("made")
    for name, (algorithm, changes) in RUNS.items():
        export_clients(config_of(*changes, algorithm=algorithm), folder / name)
    config = config_of()
    splits = load_splits(config)
    for number, share in enumerate(client_shares(config, splits)):
        batch = fetch(splits.train, share)
        np.savez(folder / f"{number}.npz", inputs=to_host(batch.inputs), labels=to_host(batch.labels))
    return folder
