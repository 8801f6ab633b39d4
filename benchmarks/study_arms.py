"""The arms of `study.py`: the clients compared on each task, and the grids of rates for tuning."""

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
        is_final: whether it is run on all seeds and read on the test split; else it is screened only.
    """

    name: str
    algorithm: str
    settings: tuple[str, ...] = ()
    grid: Values = field(default_factory=dict)
    control: str | None = None
    is_final: bool = True

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


# Adam restarts every round, so that a client can be replayed from scalars, and rates fall along a cosine.
_OURS = ("client.keep_state=false", "client.schedule=cosine")
_PUBLISHED = ("client.exact=0", "client.keep_state=true", "client.schedule=constant")
_SCHEDULES = {"client.schedule": ("constant", "cosine"), "client.keep_state": ("true", "false")}


def _rates(client: str = "", exact: str = "", server: str = "", fed: str = "") -> Values:
    keys = {
        "client.learning_rate": client,
        "client.exact_learning_rate": exact,
        "server.learning_rate": server,
        "fed_server.learning_rate": fed,
    }
    return {key: tuple(values.split()) for key, values in keys.items() if values}


def _digits_arms() -> tuple[Arm, ...]:
    server = _rates(server="1e-2")
    rates = {**_rates("1e-2 3e-2 1e-1", "1e-2 3e-2"), **server}
    one_rate = _rates("3e-3 1e-2 3e-2", server="3e-3 1e-2")

    def head(name: str, *settings: str, grid: Values = rates, is_final: bool = True) -> Arm:
        settings = (*_OURS, "client.exact=1", *settings)
        return Arm(f"head exact, {name}", "heron", settings, grid, "frozen", is_final)

    def two(name: str, *settings: str, grid: Values = rates) -> Arm:
        settings = (*_OURS, "client.exact=2", *settings)
        return Arm(f"two exact, {name}", "heron", settings, grid, "two exact, bottom frozen")

    bottom_frozen = {**_rates(exact="3e-3 1e-2 3e-2"), **server, **_SCHEDULES}
    fed_rates = {**_rates("3e-2 1e-1", "3e-2 1e-1", fed="3e-3 1e-2 3e-2"), **server}
    fed_adam = ("client.optimizer=sgd", "fed_server.optimizer=adam")
    return (
        Arm("frozen", "frozen", (), _rates(server="3e-3 1e-2")),
        Arm("heron", "heron", (), one_rate),
        Arm("heron, our schedule", "heron", _OURS, {**_rates("1e-2 3e-2 1e-1"), **server}),
        Arm(
            "heron, refreshed",
            "heron",
            (*_OURS, "server.refresh_auxiliary=true"),
            {**_rates("1e-2 3e-2"), **server},
            is_final=False,
        ),
        head("q=1"),
        head("jvp", "estimator.scheme=jvp", grid={**_rates("1e-2 3e-2", "1e-2"), **server}, is_final=False),
        head("q=2", "estimator.probes=2"),
        head("q=3", "estimator.probes=3"),
        head("q=2, FedAdam", "estimator.probes=2", *fed_adam, grid=fed_rates, is_final=False),
        Arm("two exact, bottom frozen", "heron", ("client.exact=2", "estimator.probes=0"), bottom_frozen),
        two("q=1"),
        two("q=2", "estimator.probes=2"),
        Arm("ho_sfl", "ho_sfl", (), {**_rates("3e-4 1e-3 3e-3 1e-2 3e-2"), **server}, is_final=False),
        Arm("hosl", "hosl", (), {**_rates("3e-3 1e-2 3e-2"), **server}, is_final=False),
        Arm("cse_fsl", "cse_fsl", (), {**one_rate, **_SCHEDULES}),
    )


def _narrow_arms() -> tuple[Arm, ...]:
    rates = _rates("3e-3 1e-2", "1e-2", "3e-3")
    frozen = (*_OURS, "client.exact=2", "estimator.probes=0")
    return (
        Arm("frozen", "frozen", (), _rates(server="1e-3 3e-3")),
        Arm("heron", "heron", _PUBLISHED, _rates("1e-3 3e-3", server="3e-3")),
        Arm("head exact, q=1", "heron", (*_OURS, "client.exact=1"), rates, "frozen"),
        Arm("two exact, bottom frozen", "heron", frozen, _rates(exact="1e-2 3e-2", server="3e-3")),
        Arm("two exact, q=1", "heron", (*_OURS, "client.exact=2"), rates, "two exact, bottom frozen"),
        Arm(
            "two exact, q=2",
            "heron",
            (*_OURS, "client.exact=2", "estimator.probes=2"),
            rates,
            "two exact, bottom frozen",
        ),
        Arm("cse_fsl", "cse_fsl", _OURS, _rates("3e-3 1e-2", server="3e-3")),
    )


# As in cifar10_curves.py: nothing tuned.
_ONE_RATE = (
    "client.learning_rate=1e-3",
    "server.learning_rate=1e-3",
    "client.schedule=constant",
    "client.keep_state=true",
    "client.exact_learning_rate=0",
)

TASKS = {
    "digits": Task(
        recipe="digits-published",
        settings=(),
        tune_seeds=(10, 11, 12),
        seeds=tuple(range(10)),
        last_rounds=5,
        arms=_digits_arms(),
    ),
    "cifar10_narrow": Task(
        recipe="cifar10-resnet18-small",
        settings=("split.bottleneck_channels=4", "split.bottleneck_stride=4", "rounds=20"),
        tune_seeds=(0,),
        seeds=tuple(range(5)),
        last_rounds=3,
        arms=_narrow_arms(),
    ),
    "cifar10_wide": Task(
        recipe="cifar10-resnet18-small",
        settings=("split.bottleneck_channels=0", "split.bottleneck_stride=1", "rounds=10", *_ONE_RATE),
        tune_seeds=(),
        seeds=(0, 1, 2),
        last_rounds=3,
        arms=(
            Arm("frozen", "frozen"),
            Arm("heron", "heron", _PUBLISHED),
            Arm("head exact, q=1", "heron", (*_PUBLISHED, "client.exact=1"), control="frozen"),
            Arm("cse_fsl", "cse_fsl"),
        ),
    ),
}
