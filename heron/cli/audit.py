"""`heron audit`: what can be read from what leaves the clients of runs, attack by attack, in one grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heron.analysis import quality_of
from heron.audit import ATTACKS, Case, Outcome, check_examples, figures_of, rows_of
from heron.cli.audit_needs import check_needs
from heron.cli.audit_runs import audit_all, check_auditable, standing
from heron.cli.grid import expand_grid
from heron.cli.grid_runs import run_directories, trained
from heron.cli.report import warn
from heron.config import assigned_keys, check_choice, is_folder_of_runs
from heron.config.run_files import free_folder, read_config
from heron.errors import CheckpointError, ConfigError, MissingExtraError
from heron.report import plot_audit, print_audit, write_audit_page
from heron.report.collect import SavedRun, collect_runs
from heron.report.groups import group_runs
from heron.runs.run_directory import write_json

JSON, PICTURE, PAGE = "audit.json", "audit.png", "audit.html"


def audit_command(
    sources: list[str],
    algorithms: list[str] | None,
    seeds: list[int] | None,
    assignments: list[str],
    vary: list[str],
    attacks: list[str] | None,
    *,
    examples: int,
    out: Path | None,
) -> None:
    """Audit, print a table, and write it as JSON and as a page with a picture.

    Args:
        sources: run directories or folders of them; or the name of one recipe, which is trained first.
        algorithms: of a recipe; heron by default.
        seeds: of a recipe, one run each; 0 by default.
        assignments: changes of a recipe.
        vary: keys of a recipe with several values each.
        attacks: names; all by default.
        examples: most victims.
        out: folder of the result, and of a recipe's runs; finished runs in it are kept.
    """
    names = list(ATTACKS) if attacks is None else attacks
    for name in names:
        check_choice("attack", name, ATTACKS)
    check_examples(examples, "--examples")
    if all(map(is_folder_of_runs, sources)):
        if algorithms or seeds or assignments or vary:
            raise ConfigError("the directories of runs say everything; drop --algorithms, --seeds, --set and --vary")
        folder, directories = out or free_folder(Path("audit")), [Path(source) for source in sources]
    else:
        folder, directories = _trained(
            sources, algorithms or ["heron"], seeds or [0], assignments, vary, out, attacks or []
        )
    runs = collect_runs(directories)
    configs = [read_config(run.path) for run in runs]
    check_needs(attacks or [], configs)
    warn(standing(runs))
    groups = group_runs(runs)
    label_of = {run.path: group.label for group in groups for run in group.runs}
    ordered = [run for group in groups for run in group.runs]
    quality = quality_of(row for run in runs for row in run.metrics)
    outcomes = audit_all([run.path for run in ordered], names, examples)
    _check_applied(attacks or [], outcomes)
    cases = [
        Case(label_of[run.path], int(run.config["seed"]), quality.of(_evaluated(run, quality.key())), outcome)
        for run, outcome in zip(ordered, outcomes, strict=True)
    ]
    rows, figures, title = rows_of(cases), figures_of(names), ", ".join(sources)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON, {"sources": sources, "attacks": names, "examples": examples, "rows": rows})
    print_audit(f"audit of {title}", rows, figures, quality)
    picture = _picture(cases, folder / PICTURE)
    write_audit_page(title, rows, figures, quality, attacks=names, picture=picture, path=folder / PAGE)
    print(folder / PAGE)  # noqa: T201 - the command's result


def _trained(
    sources: list[str],
    algorithms: list[str],
    seeds: list[int],
    assignments: list[str],
    vary: list[str],
    out: Path | None,
    attacks: Sequence[str],
) -> tuple[Path, list[Path]]:
    """Train the runs of a recipe that are not finished; return the folder of the audit and the runs' directories."""
    if len(sources) > 1:
        recipe = next(source for source in sources if not is_folder_of_runs(source))
        raise ConfigError(
            f"expected one recipe, or folders of runs alone, found the recipe {recipe!r} among {len(sources)}; audit "
            f"it by itself"
        )
    if "seed" in assigned_keys(assignments):
        raise ConfigError("audit takes its seeds from --seeds, found --set seed")
    (recipe,) = sources
    grid = expand_grid(recipe, algorithms, seeds, assignments, vary)
    configs = [config for cell in grid.cells for config in cell.configs.values()]
    for config in configs:
        check_auditable(config)
    check_needs(attacks, configs)
    folder = out or free_folder(Path("runs") / f"{recipe}-audit")
    runs = run_directories(grid.cells, folder / "runs")
    with trained(grid.cells, runs, folder):
        return folder, [run.path for of_cell in runs for run in of_cell]


def _check_applied(asked: Sequence[str], outcomes: Sequence[Mapping[str, Outcome]]) -> None:
    """Refuse attacks that were asked for by name and apply to none of the runs; say which, if others do."""
    idle = [name for name in asked if not any(of_run[name].figures or of_run[name].notes for of_run in outcomes)]
    if not idle:
        return
    found = (
        f"expected runs to which {', '.join(idle)} can be applied, found none here, which does not say that they are "
        f"safe; docs/guides/audit.md says what each attack needs"
    )
    if len(idle) == len(asked):
        raise ConfigError(found)
    warn([found])


def _evaluated(run: SavedRun, key: str) -> dict[str, Any]:
    """Return the last row of metrics with a quality."""
    return next((row for row in reversed(run.metrics) if key in row), {key: None})


def _picture(cases: Sequence[Case], path: Path) -> Path | None:
    """Draw the first seed of each row; None where nothing was rebuilt, or nothing can be drawn."""
    pictures: dict[str, tuple[Any, Any]] = {}
    for case in cases:
        for name, outcome in case.outcomes.items():
            if outcome.pictures is not None:
                pictures.setdefault(f"{case.label}: {name}", outcome.pictures)
    if not pictures:
        return None
    try:
        plot_audit(pictures, path)
    except (MissingExtraError, CheckpointError) as error:
        warn([f"no picture: {error}"])
        return None
    return path
