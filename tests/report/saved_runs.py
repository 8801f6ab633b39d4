"""Run directories as `heron compare` leaves them, made without training."""

import json
from pathlib import Path

from heron.analysis import ACCURACY, Quality
from heron.config import override, recipe_config, to_toml

CATEGORIES = ("parameters", "buffers", "inputs", "activations", "gradients", "optimizer_state", "temporaries")


def save_run(
    folder: Path,
    algorithm: str = "heron",
    seed: int = 0,
    *,
    rounds: int = 3,
    changes: tuple[str, ...] = (),
    quality: Quality = ACCURACY,
    **row,
) -> Path:
    """A finished run whose accuracy rises by 0.1 a round, from 0.1 times the algorithm's place.

    Perplexity falls instead, as 100 times what is missing to an accuracy of 1.
    """
    path = folder / algorithm / ",".join(changes) / f"seed{seed}"
    path.mkdir(parents=True)
    recipe = row.pop("recipe", "digits-published")
    config = override(recipe_config(recipe, algorithm, [f"rounds={rounds}", *changes]), [f"seed={seed}"])
    (path / "config.toml").write_text(to_toml(config))
    start = {"frozen": 0.1, "heron": 0.3, "cse_fsl": 0.5}[algorithm] + seed / 100
    rows = [
        {
            "round": number,
            "algorithm": algorithm,
            "train_loss": 1.0,
            "uplink_bytes": 1000 * number,
            "downlink_bytes": 500 * number,
            "client_examples": 64 * number,
            "clients": 5,
            "elapsed_s": float(number),
            quality.key(): start + 0.1 * number
            if quality.higher_is_better
            else round(100 * (1 - start) - 10 * number, 6),
        }
        | row
        for number in range(1, rounds + 1)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    traffic = {"uplink_bytes_by_kind": {"smashed": 900, "framing": 100}, "downlink_bytes_by_kind": {"model": 500}}
    (path / "summary.json").write_text(json.dumps(rows[-1] | traffic))
    cost = {"peak_memory_bytes": 2**20, "memory_breakdown_bytes": dict.fromkeys(CATEGORIES, 2**20 // 8)}
    (path / "cost.json").write_text(json.dumps(cost | {"algorithm": algorithm, "flops_per_step": 3.2e6}))
    return path
