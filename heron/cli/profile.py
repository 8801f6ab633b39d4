"""`heron profile`: what one client step costs, measured without training."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from heron.config import RECIPES, RunConfig, build_federation, load_splits, recipe_config, use_threads_and_device
from heron.engines import ClientCost, Federation, profile_client, write_json
from heron.report import print_costs


def profile_command(recipe: str, algorithms: list[str], assignments: list[str], json_path: Path | None) -> None:
    """Measure and show the client's costs for several algorithms."""
    costs = profile_algorithms([recipe_config(recipe, algorithm, assignments) for algorithm in algorithms])
    rows = [cost.to_dict() for cost in costs]
    if json_path is not None:
        write_json(json_path, rows)
    # With keys changed, the paper's figures are of something else.
    print_costs(recipe, rows, {} if assignments else RECIPES[recipe].paper_costs)


def profile_algorithms(configs: Sequence[RunConfig]) -> list[ClientCost]:
    """Costs of one client step for each configuration, in order."""
    costs = {position: profile_client(federation) for position, federation in each_federation(configs)}
    return [costs[position] for position in range(len(configs))]


def each_federation(configs: Sequence[RunConfig]) -> Iterator[tuple[int, Federation]]:
    """Build the federation of every configuration, one at a time; equal data is read once.

    Yields:
        Position in `configs` and federation, those of equal data and seed together.

    Raises:
        HeronError: if the data, the partition, the cut or the device of a configuration does not work out.
    """
    sharing: dict[object, list[int]] = {}
    for position, config in enumerate(configs):
        sharing.setdefault((config.data, config.seed), []).append(position)
    for positions in sharing.values():
        use_threads_and_device(configs[positions[0]])
        splits = load_splits(configs[positions[0]])
        for position in positions:
            use_threads_and_device(configs[position])
            yield position, build_federation(configs[position], splits)
