"""Cost of one client step at the paper's real size, beside the paper's figures; saved with the hardware.

    python benchmarks/client_cost.py

Measures `cifar10-resnet18` (batch 256, cut after the second BatchNorm) for heron, cse_fsl and frozen. Costs depend on
shapes alone, so the inputs are zeros and no data set is needed.
"""

import json
from pathlib import Path

import numpy as np
import torch
from hardware import describe
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.config import build_split, recipe_config
from heron.config.build import federation_settings
from heron.engines import Federation, profile_client
from heron.report import print_costs

RESULT = Path(__file__).parent / "results" / "client_cost.json"
# ALGORITHMS 5: peak memory in MiB and GFLOP per local step, from the paper's table.
PAPER = {"heron": (259.44, 39.90), "cse_fsl": (726.46, 59.85)}


def main() -> None:
    """Measure, print, save."""
    rows = []
    for name in ("heron", "cse_fsl", "frozen"):
        config = recipe_config("cifar10-resnet18", name, [])
        torch.set_num_threads(config.threads)
        batch = config.client.batch_size
        dataset = TensorDataset(torch.zeros(batch, 3, 32, 32), torch.zeros(batch, dtype=torch.int64))
        federation = Federation(
            build_split(config), ALGORITHMS[name], dataset, [np.arange(batch)], federation_settings(config)
        )
        rows.append(profile_client(federation).to_dict())
    print_costs("cifar10-resnet18", rows)
    for row in rows:
        if row["algorithm"] in PAPER:
            memory, flops = PAPER[row["algorithm"]]
            print(f"{row['algorithm']}: {row['peak_memory_bytes'] / 2**20:.0f} MiB (paper {memory:.0f}), ", end="")
            print(f"{row['flops_per_step'] / 1e9:.1f} GFLOP (paper {flops})")
    RESULT.write_text(json.dumps({"hardware": describe(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
