"""Train a network and a data set of your own, federated, in one call."""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS, Algorithm
from heron.config import check_choice, hash_of, settings_with
from heron.config.devices import link_model
from heron.config.machine import process_set_for
from heron.config.run_files import write_settings
from heron.costs.operations import step_flops
from heron.costs.own_network import on_fakes, within_budget
from heron.data import Examples, Splits, partition
from heron.data.map_style import check_map_style
from heron.data.scan import Scan, scan
from heron.engines.cautions import cautions
from heron.engines.in_process import Federation
from heron.engines.task import check_task
from heron.errors import ConfigError
from heron.ranges import shown
from heron.runs.lock import locked
from heron.runs.measures import Measure, check_names
from heron.runs.origin import origin_of
from heron.runs.run_directory import Metrics, RunDirectory
from heron.runs.run_loop import Run
from heron.split import SplitModel, lent
from heron.split.arguments import check_criterion, check_split
from heron.split.criterion import Criterion
from heron.wire.groups import Settings
from heron.wire.plain import to_plain


@dataclass(frozen=True)
class TrainResult:
    """Outcome of `train`.

    Attributes:
        model: the cut network with the global parameters; call it as the whole network.
        metrics: one row per round.
        uplink_bytes_by_kind: encoded bytes from clients to servers.
        downlink_bytes_by_kind: encoded bytes from servers to clients.
    """

    model: SplitModel
    metrics: list[Metrics]
    uplink_bytes_by_kind: dict[str, int]
    downlink_bytes_by_kind: dict[str, int]


def train(
    split: SplitModel,
    data: Examples | Splits,
    *,
    test: Examples | None = None,
    algorithm: str = "heron",
    settings: Settings | None = None,
    criterion: Criterion = cross_entropy,
    measures: Mapping[str, Measure] | None = None,
    out: str | os.PathLike[str] | None = None,
    observe: Callable[[Metrics], None] = lambda _: None,
    **changes: Any,
) -> TrainResult:
    """Train a cut network across simulated clients.

    Args:
        split: the network, cut with `heron.split.cut` or put together as a `SplitModel`; trained in place. Afterwards
            it is the caller's again: each parameter has storage of its own, and modes, devices, `requires_grad` flags
            and gradients are as before. So is it if training raises or is interrupted, with the values that it had
            come to.
        data: training examples (input, label), a map-style data set, shared out among the clients; or
            `heron.data.Splits`, which also have validation and test examples, and owners of examples for
            `clients.partition="natural"`. What a data set draws from torch's, NumPy's and Python's generators is a
            function of `seed`, client, round and step.
        test: examples to evaluate after each round; none by default.
        algorithm: key of `heron.algorithms.ALGORITHMS`.
        settings: how to train; by default `heron.Settings()`.
        criterion: mean loss over the examples of a batch, differentiable by torch: a function or a module of (outputs,
            labels). What it leaves out, by default labels of -100, is left out everywhere.
        measures: functions of (outputs, labels) by name, computed with every evaluation: a number for a batch, or one
            for each of its examples, of which a row has the mean over examples, e.g. as `test_f1`. Rows have
            `test_loss` in any case, and `test_accuracy` where labels are classes.
        out: run directory for metrics and checkpoints; a run interrupted there is continued, by the same call or one
            with more rounds. With another network, data, criterion or setting it is refused (`heron.runs.origin`).
            `heron report` shows it.
        observe: called with each round's metrics.
        changes: settings by the names that `heron.Settings` and the files of the command line have: keys of the run as
            a whole (`rounds=30`, `seed=1`, `update="scalars"`), and sections as a mapping of some of their keys
            (`clients={"total": 10}`, `client={"learning_rate": 1e-2, "exact": 2}`) or as a whole group
            (`estimator=heron.Probes(probes=2)`).

    Several threads may call this at a time, each with a network of its own and all with the same `threads`: each
    training has the result that it has alone. The process's generators are as before afterwards.

    Returns:
        The trained network and what happened.

    Raises:
        HeronError: if a key, a value, the data, the partition or the cut does not work out.

    Examples:
        See `examples/own_model.py`.
    """
    check_choice("algorithm", algorithm, ALGORITHMS)
    settings = settings_with(Settings() if settings is None else settings, changes)
    check_split(split)
    check_criterion(criterion)
    check_names(measures or {})
    if not callable(observe):
        raise ConfigError(f"observe: expected a function of a round's metrics, found {shown(observe)}; leave it out")
    splits = _splits(data, test)
    row = ALGORITHMS[algorithm]
    directory = _directory(out)
    for line in cautions(row, settings):
        warnings.warn(line, stacklevel=2)
    with lent(split), process_set_for(settings):
        _check_device(split, settings)
        scanned = scan(splits.train)
        check_task(split.to(settings.device), row, criterion, splits, settings, scanned=scanned)
        settings = within_budget(settings, row, split, splits.train, criterion)
        run = _run(split, splits, row, settings, criterion, directory, scanned=scanned, measures=measures)
        try:
            metrics = _trained(run, row, settings, observe)
        finally:
            run.federation.load_global_model()
    ledger = run.federation.ledger
    return TrainResult(split, metrics, ledger.by_kind("uplink"), ledger.by_kind("downlink"))


def _trained(
    run: Run[Federation], algorithm: Algorithm, settings: Settings, observe: Callable[[Metrics], None]
) -> list[Metrics]:
    """Train a run to its end; its directory, if it has one, is locked and gets its settings and its summary."""
    if run.directory is None:
        return run.train(observe)
    with locked(run.directory.path, lambda line: warnings.warn(line, stacklevel=6)):
        run.restore()
        write_settings(run.directory.path, algorithm.name, settings)
        metrics = run.train(observe)
        run.finish()
    return metrics


def _run(
    split: SplitModel,
    splits: Splits,
    algorithm: Algorithm,
    settings: Settings,
    criterion: Criterion,
    directory: RunDirectory | None,
    *,
    scanned: Scan,
    measures: Mapping[str, Measure] | None,
) -> Run[Federation]:
    """The federation with its data and directory, before its first round."""
    clients = settings.clients
    shares = partition(
        clients.partition,
        scanned.labels,
        num_clients=clients.total,
        alpha=clients.alpha,
        seed=settings.seed,
        groups=splits.groups,
    )
    link = link_model(settings, lambda own: on_fakes(step_flops, own, algorithm, split, splits.train, criterion))
    origin = None
    if directory is not None:
        origin = origin_of(split, splits, scanned.labels, criterion, _compared(algorithm, settings))
    return Run(
        Federation(split, algorithm, splits.train, shares, settings, criterion, link),
        splits,
        rounds=settings.rounds,
        directory=directory,
        fingerprint=hash_of(_identity(algorithm, settings)),
        evaluation_period=settings.evaluation_period,
        origin=origin,
        measures=measures,
    )


def _splits(data: Examples | Splits, test: Examples | None) -> Splits:
    """The data in their three splits, empty where there are none."""
    if isinstance(data, Splits):
        if test is not None:
            raise ConfigError("expected test examples once, found them in data and as test; leave test out")
        for name in ("train", "validation", "test"):
            check_map_style(f"data.{name}", getattr(data, name))
        return data
    check_map_style("data", data)
    if test is not None:
        check_map_style("test", test)
    nothing = TensorDataset(torch.empty(0), torch.empty(0))
    # Nobody asks for the number of classes where no message comes from elsewhere.
    return Splits(data, validation=nothing, test=nothing if test is None else test, num_classes=0)


def _identity(algorithm: Algorithm, settings: Settings) -> dict[str, Any]:
    """Settings that the rounds depend on: more rounds continue a run, unless step sizes or noise depend on it."""
    client = replace(settings.client, kernel="auto")
    rounds = settings.rounds if client.schedule == "cosine" or settings.privacy.fixes_rounds else 1
    return {"algorithm": algorithm.name} | asdict(replace(settings, rounds=rounds, client=client))


def _compared(algorithm: Algorithm, settings: Settings) -> dict[str, Any]:
    """The same by their keys, as JSON holds them."""
    values = to_plain(_identity(algorithm, settings))
    sections = {name: section for name, section in values.items() if isinstance(section, dict)}
    plain = {name: value for name, value in values.items() if name not in sections}
    return plain | {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}


def _directory(out: Any) -> RunDirectory | None:
    if out is None:
        return None
    if not isinstance(out, str | os.PathLike):
        raise ConfigError(f"out: expected the path of a folder, found {shown(out)}; leave it out to keep no files")
    return RunDirectory(Path(out))


def _check_device(split: SplitModel, settings: Settings) -> None:
    """Refuse to move a network off the device that its owner has put it on."""
    found = {parameter.device for parameter in split.parameters()} - {torch.device("cpu")}
    wanted = torch.device(settings.device)
    for device in found:
        if device.type != wanted.type:
            raise ConfigError(
                f"device: expected {str(device)!r}, where the network is, found {settings.device!r}; set it, or move "
                f"the network with split.to({settings.device!r})"
            )
