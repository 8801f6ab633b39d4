"""`heron plan --memory device`: the client that each class of devices gets."""

from pathlib import Path
from typing import Any

from heron.algorithms import ALGORITHMS
from heron.cli.progress import total_progress
from heron.config import (
    assigned_keys,
    check_without_data,
    plan_cost,
    recipe_config,
    resolve_budget,
    use_threads_and_device,
)
from heron.errors import ConfigError
from heron.report import print_fleet, print_kernel_note
from heron.runs.run_directory import write_json
from heron.wire.fleet import with_exact
from heron.wire.network import class_of


def plan_fleet(recipe: str, algorithm: str, assignments: list[str], json_path: Path | None) -> None:
    """Choose the boundary of every class of devices on fake tensors, then print and save them.

    Args:
        recipe: its name.
        algorithm: one with an order boundary.
        assignments: changes, a `link.profile` among them.
        json_path: where the rows are saved; None for nowhere.

    Raises:
        ConfigError: if the algorithm has no boundary, a class has no budget, or nothing fits into one.
    """
    if assigned_keys(assignments) & {"client.exact", "client.memory_budget"}:
        raise ConfigError(
            "plan chooses client.exact and takes budgets from link.profile with --memory device; drop "
            "client.exact and client.memory_budget from --set"
        )
    config = recipe_config(recipe, algorithm, [*assignments, "client.memory_budget=device"])
    if not ALGORITHMS[config.algorithm].has_boundary:
        able = " or ".join(name for name, row in ALGORITHMS.items() if row.has_boundary)
        raise ConfigError(
            f"expected an algorithm with an order boundary with --memory device, {able}, found {algorithm}; choose one"
        )
    use_threads_and_device(config)
    fleet = resolve_budget(config)
    check_without_data(fleet)
    devices = fleet.link.devices
    clients: dict[str, list[int]] = {one.name: [] for one in devices}
    for client_id in range(fleet.clients.total):
        clients[class_of(devices, fleet.seed, client_id).name].append(client_id)
    costs: dict[Any, dict[str, Any]] = {}
    rows = []
    with total_progress(f"plan {recipe}", done=0, total=len(devices), unit="class") as show:
        for one in devices:
            if one.exact not in costs:
                costs[one.exact] = plan_cost(with_exact(fleet, one.exact)).to_dict()
            rows.append(
                {
                    "device": one.name,
                    "clients": clients[one.name],
                    "memory_bytes": one.memory_budget,
                    "exact": one.exact,
                    **costs[one.exact],
                }
            )
            show(len(rows))
    plan = {"recipe": recipe, "algorithm": config.algorithm, "set": assignments, "rows": rows}
    if json_path is not None:
        write_json(json_path, plan)
    print_fleet(recipe, config.algorithm, rows)
    print_kernel_note(config.client.kernel)
