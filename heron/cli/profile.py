"""`heron profile`: what one client step costs, measured without training."""

from pathlib import Path

from heron.config import RunConfig, build_federation, load_splits, recipe_config, use_threads_and_device
from heron.engines import ClientCost, profile_client, write_json
from heron.report import print_costs


def profile_command(recipe: str, algorithms: list[str], assignments: list[str], json_path: Path | None) -> None:
    """Measure and show the client's costs for several algorithms."""
    costs = profile_algorithms([recipe_config(recipe, algorithm, assignments) for algorithm in algorithms])
    rows = [cost.to_dict() for cost in costs]
    if json_path is not None:
        write_json(json_path, rows)
    print_costs(recipe, rows)


def profile_algorithms(configs: list[RunConfig]) -> list[ClientCost]:
    """Costs of one client step for each configuration, in order."""
    costs = []
    for config in configs:
        use_threads_and_device(config)
        costs.append(profile_client(build_federation(config, load_splits(config))))
    return costs
