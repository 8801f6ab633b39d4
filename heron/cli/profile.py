"""`heron profile`: the cost of one client step, measured without training, data or pre-trained weights."""

from pathlib import Path

from heron.config import RECIPES, compared_config, profile_cost
from heron.report import print_costs, print_kernel_note
from heron.runs.run_directory import write_json


def profile_command(recipe: str, algorithms: list[str], assignments: list[str], json_path: Path | None) -> None:
    """Measure and print the client's costs for several algorithms."""
    configs = [compared_config(recipe, algorithm, assignments) for algorithm in algorithms]
    rows = [profile_cost(config).to_dict() for config in configs]
    if json_path is not None:
        write_json(json_path, rows)
    # The paper's figures do not apply to a changed recipe.
    print_costs(recipe, rows, {} if assignments else RECIPES[recipe].paper_costs)
    print_kernel_note(configs[0].client.kernel)
