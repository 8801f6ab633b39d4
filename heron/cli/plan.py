"""`heron plan`: the clients that fit into a memory budget, and their costs; trains nothing, reads no data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from heron.algorithms import ALGORITHMS
from heron.cli.plan_fleet import plan_fleet
from heron.cli.progress import total_progress
from heron.config import (
    RunConfig,
    assigned_keys,
    plan_cost,
    recipe_config,
    use_threads_and_device,
    variants_of,
)
from heron.costs.plan import too_small
from heron.errors import ConfigError
from heron.ranges import parse_bytes
from heron.report import print_kernel_note, print_plan, print_upload_note
from heron.runs.run_directory import write_json


def plan_command(recipe: str, memory: str, algorithm: str, assignments: list[str], json_path: Path | None) -> None:
    """Measure every variant on fake tensors, then print and save them.

    Two rows are marked: the recipe without a budget, and the choice of `client.memory_budget`. With the memory of each
    device there is a row for each class of them.
    """
    if memory == "device":
        plan_fleet(recipe, algorithm, assignments, json_path)
        return
    if algorithm != "heron":
        raise ConfigError(f"expected --algorithm heron with one size of --memory, found {algorithm}; leave it out")
    budget = parse_bytes(memory)
    if budget < 1:
        raise ConfigError(f"expected --memory of at least 1 byte, found {memory!r}")
    config = recipe_config(recipe, "heron", assignments)
    if assigned_keys(assignments) & {"client.exact", "client.memory_budget"}:
        raise ConfigError("plan chooses client.exact and takes its budget from --memory; drop them from --set")
    if config.client.learning != "zeroth_order":
        raise ConfigError(f"plan tries every client.learning, found {config.client.learning}; drop it from --set")
    use_threads_and_device(config)
    configs = list(variants_of(config))
    rows: list[dict[str, Any]] = []
    with total_progress(f"plan {recipe}", done=0, total=len(configs), unit="variant") as show:
        for variant in configs:
            rows.append(_row(variant, budget, is_default=variant == config))
            show(len(rows))
    own = [
        row for row, variant in zip(rows, configs, strict=True) if row["exact"] is not None and _is_own(variant, config)
    ]
    fitting = [row for row in own if row["fits"]]
    if fitting:
        fitting[-1]["chosen"] = True  # the largest, since `exact` ascends
    plan = {"recipe": recipe, "set": assignments, "memory_bytes": budget, "rows": rows}
    if json_path is not None:
        write_json(json_path, plan)
    print_plan(recipe, budget, rows, own, None if fitting else _refusal(budget, own))
    period = ALGORITHMS[config.algorithm].upload_period(config)
    if period is not None:
        print_upload_note(config, period)
    print_kernel_note(config.client.kernel)


def _row(config: RunConfig, budget: int, *, is_default: bool) -> dict[str, Any]:
    has_boundary = ALGORITHMS[config.algorithm].has_boundary
    cost = plan_cost(config).to_dict()
    return {
        "algorithm": cost.pop("algorithm"),
        "cut": config.split.cut,
        "exact": config.client.exact if has_boundary else None,
        "learning": config.client.learning if has_boundary else None,
        "micro_batch": config.client.micro_batch,
        "checkpointing": config.client.checkpointing,
        **cost,
        "fits": cost["peak_memory_bytes"] <= budget,
        "chosen": False,
        "default": is_default,
    }


def _is_own(variant: RunConfig, config: RunConfig) -> bool:
    """Return whether a variant differs from the run only in `client.exact`."""
    return replace(variant, client=replace(variant.client, exact=config.client.exact)) == config


def _refusal(budget: int, own: Sequence[Mapping[str, Any]]) -> str:
    return too_small(budget, {row["exact"]: row["peak_memory_bytes"] for row in own})
