"""The arms of `study.py`: what is compared on each task, and the rates each is tuned over."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Values = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Arm:
    """One way to train the clients.

    Attributes:
        name: what tables call it.
        algorithm: key of the registry.
        settings: what it changes in the recipe, `key=value`.
        grid: rates to choose from on the validation split.
        control: the arm that has the same boundary with its bottom frozen.
    """

    name: str
    algorithm: str
    settings: tuple[str, ...] = ()
    grid: Values = field(default_factory=dict)
    control: str | None = None

    def candidates(self) -> Iterator[list[str]]:
        """Settings of every point of the grid."""
        for values in itertools.product(*self.grid.values()):
            rates = [f"{key}={value}" for key, value in zip(self.grid, values, strict=True)]
            yield [*self.settings, *rates]


@dataclass(frozen=True)
class Task:
    """A recipe under study.

    Attributes:
        recipe: its name.
        settings: changes for all arms.
        tune_seeds: runs of every point of a grid.
        seeds: runs of every arm at its best point.
        last_rounds: rounds at the end whose mean validation accuracy counts.
        arms: what is compared; those named frozen and cse_fsl are the ends of `gain recovered`, heron is the published
            method.
    """

    recipe: str
    settings: tuple[str, ...]
    tune_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    last_rounds: int
    arms: tuple[Arm, ...]


def _rates(client: str = "", exact: str = "", server: str = "") -> Values:
    keys = {"client.learning_rate": client, "client.exact_learning_rate": exact, "server.learning_rate": server}
    return {key: values.split() for key, values in keys.items() if values}


def _boundary_arms(grid: Values, frozen_grid: Values) -> tuple[Arm, ...]:
    def arm(name: str, *settings: str, exact: int, control: str | None) -> Arm:
        return Arm(name, "heron", (f"client.exact={exact}", *settings), grid, control)

    return (
        arm("head exact, q=1", exact=1, control="frozen"),
        arm("head exact, q=3", "estimator.probes=3", exact=1, control="frozen"),
        Arm("two exact, bottom frozen", "heron", ("client.exact=2", "estimator.probes=0"), frozen_grid),
        arm("two exact, q=1", exact=2, control="two exact, bottom frozen"),
        arm("two exact, q=2", "estimator.probes=2", exact=2, control="two exact, bottom frozen"),
    )


_DIGITS_GRID = _rates("1e-3 3e-3 1e-2", "1e-2 3e-2", "1e-2")
_DIGITS_ONE_RATE = _rates("1e-3 3e-3 1e-2 3e-2", "", "3e-3 1e-2")
_CIFAR_GRID = _rates("3e-4 1e-3 3e-3", "3e-3 1e-2", "1e-3")

TASKS = {
    "digits": Task(
        recipe="digits",
        settings=(),
        tune_seeds=(0, 1),
        seeds=tuple(range(10)),
        last_rounds=5,
        arms=(
            Arm("frozen", "frozen", (), _rates(server="3e-3 1e-2")),
            Arm("heron", "heron", (), _DIGITS_ONE_RATE),
            *_boundary_arms(_DIGITS_GRID, _rates("", "3e-3 1e-2 3e-2 1e-1", "1e-2")),
            Arm(
                "two exact, q=1, state reset",
                "heron",
                ("client.exact=2", "client.keep_state=false"),
                _DIGITS_GRID,
                "two exact, bottom frozen",
            ),
            Arm(
                "head exact, q=3, state reset",
                "heron",
                ("client.exact=1", "estimator.probes=3", "client.keep_state=false"),
                _DIGITS_GRID,
                "frozen",
            ),
            Arm("cse_fsl", "cse_fsl", (), _DIGITS_ONE_RATE),
        ),
    ),
    "cifar10_narrow": Task(
        recipe="cifar10-resnet18-small",
        settings=("split.bottleneck_channels=4", "split.bottleneck_stride=4"),
        tune_seeds=(0,),
        seeds=tuple(range(5)),
        last_rounds=3,
        arms=(
            Arm("frozen", "frozen", (), _rates(server="1e-3 3e-3")),
            Arm("heron", "heron", (), _rates("1e-3 3e-3 1e-2", "", "1e-3")),
            *_boundary_arms(_CIFAR_GRID, _rates("", "1e-3 3e-3 1e-2", "1e-3")),
            Arm("cse_fsl", "cse_fsl", (), _rates("1e-3 3e-3 1e-2", "", "1e-3")),
        ),
    ),
    "cifar10_wide": Task(
        recipe="cifar10-resnet18-small",
        settings=(),
        tune_seeds=(),
        seeds=(0, 1, 2),
        last_rounds=3,
        arms=(
            Arm("frozen", "frozen"),
            Arm("heron", "heron"),
            Arm("head exact, q=1", "heron", ("client.exact=1",), control="frozen"),
            Arm("cse_fsl", "cse_fsl"),
        ),
    ),
}
