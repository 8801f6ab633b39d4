"""Screens of three ways to schedule the orders of a client on digits: what else layer-local learning could be given.

    python benchmarks/orders.py [--arms NAME;...]

(a) Local heads fed by the server: the last head refreshed by FSL-SAGE's alignment, or all heads, which a server could
    do that saw the outputs of every group and the layers above it (more than it is sent: a bound from above).
(b) Layer-local exact learning for some rounds, then a second run from that model, frozen or from probes of the whole
    auxiliary loss.
(c) Probes of a local loss for some groups, as where these cannot be exported, exact gradients for the others.

40 rounds; the rates of an arm are chosen on the validation split of seed 100, then the arm is run on seeds 101 to 103
and judged by the validation split, mean of the last five rounds; the test split is never read. Saves
benchmarks/results/orders_digits.json after every arm.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hardware import describe
from torch import Tensor

from heron.analysis import standard_error
from heron.client.runtime import Orders
from heron.client.torch_runtime import placement, runtime
from heron.config import RunConfig, build_run, plan_cost, recipe_config
from heron.data import fetch
from heron.engines.in_process import Federation
from heron.errors import TrainingError
from heron.runs.evaluation import evaluate
from heron.runs.run_loop import Run
from heron.split import layer_groups
from heron.split.descent import Descent
from heron.tensors import as_tensor

RECIPE, NUM_ROUNDS, LAST = "digits-published", 40, 5
TUNE_SEED, SEEDS = 100, (101, 102, 103)
RESULTS = Path(__file__).parent / "results" / "orders_digits.json"
_COMMON = ("client.keep_state=false", "client.schedule=cosine", "estimator.probes=1", "server.learning_rate=1e-2")
_LOCAL = ("client.local_pool=2", "client.learning_rate=3e-2")  # the best of its grid at 40 rounds (layer_local.py)
_HEADS = ("client.learning=local_zeroth_order", "client.local_pool=2", "client.exact=1")
Hook = Callable[[Run[Federation]], None]


@dataclass(frozen=True)
class Screen:
    """An arm.

    Attributes:
        name: what the table calls it.
        idea: a, b, c, or nothing for what the ideas are compared with.
        algorithm: of the run, or of its second part.
        settings: of that run.
        grid: rates to choose from.
        warm_up: rounds of layer-local exact learning before it.
        hook: called after every round.
        probed: numbers of the layer groups that learn from probes where all others learn exactly.
    """

    name: str
    idea: str
    algorithm: str
    settings: tuple[str, ...] = ()
    grid: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warm_up: int = 0
    hook: Hook | None = None
    probed: tuple[int, ...] | None = None


def align_all_heads(run: Run[Federation]) -> None:
    """Fit every local head to the gradient of the server's loss at its inputs, as FSL-SAGE fits the last one."""
    parties, settings = run.federation, run.federation.settings.server
    split = parties.load_global_model().eval()
    heads = [] if split.local_heads is None else list(split.local_heads.children())
    groups = layer_groups(split.client)
    batches = [fetch(parties.dataset, share[torch.randperm(len(share))[:32].numpy()]) for share in parties.partition]
    found: dict[str, Tensor] = {}
    for number, head in enumerate(heads):
        above = [*groups[number + 1 :], split.server]
        pairs = []
        for batch in batches:
            hidden, labels = as_tensor(batch.inputs), as_tensor(batch.labels)
            with torch.no_grad():
                for group in groups[: number + 1]:
                    hidden = group(hidden.clone())
            outputs = hidden = hidden.detach().requires_grad_()
            for module in above:
                outputs = module(outputs.clone())
            (target,) = torch.autograd.grad(parties.servers.criterion(outputs, labels), hidden)
            pairs.append((hidden, labels, target))
        theta = dict(head.named_parameters())
        descent = Descent(theta, "adam")
        for _, (hidden, labels, target) in itertools.product(range(settings.alignment_steps), pairs):
            loss = parties.servers.criterion(head(hidden), labels)
            (gradient,) = torch.autograd.grad(loss, hidden, create_graph=True)
            distance = (gradient - target).square().sum() / target.square().sum()
            gradients = torch.autograd.grad(distance, list(theta.values()), allow_unused=True)
            for tensor, own in zip(theta.values(), gradients, strict=True):
                tensor.grad = own
            descent.step(settings.alignment_learning_rate)
        found |= {f"local_heads.{number}.{name}": tensor.detach().clone() for name, tensor in theta.items()}
    parties.fed_server.replace(found)


_BEST = {"client.learning_rate": ("3e-2",)}  # of the arm local
_BOTH = {"client.learning_rate": ("3e-2", "1e-1"), "client.exact_learning_rate": ("3e-2",)}
_SECOND = {"client.learning_rate": ("1e-3", "1e-2")}
_SECOND_HEAD = {**_SECOND, "client.exact_learning_rate": ("1e-2",)}
_POOL = "client.local_pool=2"
_REFRESHED = (_POOL, "server.refresh_auxiliary=true")
_WARM_UP = 20
ARMS = (
    Screen("frozen", "", "frozen"),
    Screen("local", "", "local", (_POOL,), {"client.learning_rate": ("1e-2", "3e-2")}),
    Screen("probes of each group's loss, exact heads", "", "heron", _HEADS, _BOTH),
    Screen("local, last head aligned", "a", "local", _REFRESHED, _BEST),
    Screen("local, all heads aligned", "a", "local", _REFRESHED, _BEST, hook=align_all_heads),
    Screen("local, then frozen", "b", "frozen", warm_up=_WARM_UP),
    Screen("local, then probes", "b", "heron", (), _SECOND, _WARM_UP),
    Screen("local, then probes, exact head", "b", "heron", ("client.exact=1",), _SECOND_HEAD, _WARM_UP),
    *(
        Screen(
            f"groups {'+'.join(str(number + 1) for number in probed)} from probes",
            "c",
            "heron",
            _HEADS,
            _BOTH,
            probed=probed,
        )
        for probed in ((0,), (0, 1), (2,))
    ),
)


@contextmanager
def only_probed(numbers: tuple[int, ...] | None) -> Iterator[None]:
    """Within the block, layer groups learn exactly but for those of these numbers."""
    if numbers is None:
        yield
        return
    place = placement.place_groups

    def mixed(module: Any, orders: Orders) -> list[placement.PlacedGroup]:
        return [
            group if number in numbers else replace(group, orders=Orders("all"))
            for number, group in enumerate(place(module, orders))
        ]

    with mock.patch.object(placement, "place_groups", mixed), mock.patch.object(runtime, "place_groups", mixed):
        yield


def configured(screen: Screen, settings: tuple[str, ...], seed: int) -> RunConfig:
    """The configuration of the run, or of its second part."""
    common = [*_COMMON, f"rounds={NUM_ROUNDS - screen.warm_up}", f"seed={seed}"]
    return recipe_config(RECIPE, screen.algorithm, [*common, *screen.settings, *settings])


def score(screen: Screen, settings: tuple[str, ...], seed: int) -> float:
    """Mean validation accuracy of the last rounds; 0 for a run that diverges."""
    torch.manual_seed(seed)  # for the batches that heads are aligned on
    with only_probed(screen.probed):
        run = build_run(configured(screen, settings, seed), None)
        if screen.warm_up:
            rounds = f"rounds={screen.warm_up}"
            first = build_run(recipe_config(RECIPE, "local", [*_COMMON, *_LOCAL, rounds, f"seed={seed}"]), None)
            for _ in range(screen.warm_up):
                first.federation.run_round()
            hand_over(first.federation, run.federation)
        try:
            found = list(accuracies(run, screen.hook))
        except TrainingError:
            return 0.0
    return statistics.fmean(found[-LAST:])


def accuracies(run: Run[Federation], hook: Hook | None) -> Iterator[float]:
    """Train, and yield the validation accuracy after the last rounds."""
    for number in range(run.rounds):
        run.federation.run_round()
        if hook is not None:
            hook(run)
        if number >= run.rounds - LAST:
            model, criterion = run.federation.load_global_model(), run.federation.servers.criterion
            result = evaluate(model, run.splits.validation, criterion, device=torch.device("cpu"))
            assert result is not None  # the validation split has examples
            assert result.accuracy is not None
            yield result.accuracy


def hand_over(first: Federation, second: Federation) -> None:
    """Begin a run from the model of another one."""
    trained = first.load_global_model()
    for part in ("client", "auxiliary", "server"):
        getattr(second.split, part).load_state_dict(getattr(trained, part).state_dict())
    model = first.fed_server.global_model()
    second.fed_server.replace({name: model[name].clone() for name in second.fed_server.global_model()})


def row_of(screen: Screen) -> dict[str, Any]:
    """Choose the rates of an arm and run it on the other seeds."""
    started = time.process_time()
    points = [
        tuple(f"{key}={value}" for key, value in zip(screen.grid, values, strict=True))
        for values in itertools.product(*screen.grid.values())
    ]
    tuned = {point: score(screen, point, TUNE_SEED) for point in points} if len(points) > 1 else {}
    best = max(tuned, key=tuned.__getitem__) if tuned else points[0]
    found = [score(screen, best, seed) for seed in SEEDS]
    with only_probed(screen.probed):
        cost = plan_cost(configured(screen, best, SEEDS[0])).to_dict()
    return {
        "arm": screen.name,
        "idea": screen.idea,
        "algorithm": screen.algorithm,
        "settings": [*screen.settings, *best],
        "warm_up": screen.warm_up,
        "tuned": [{"settings": point, "validation": value} for point, value in tuned.items()],
        "validation": found,
        "cost": cost,  # of the second part where there are two
        "cpu_s": time.process_time() - started,
    }


def main() -> None:
    """Screen arm after arm, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", help="names, apart by semicolons; default all")
    options = parser.parse_args()
    names = options.arms.split(";") if options.arms else [screen.name for screen in ARMS]
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    for screen in ARMS:
        if screen.name not in names or screen.name in [row["arm"] for row in rows]:
            continue
        rows.append(row := row_of(screen))
        found = {"hardware": describe(), "recipe": RECIPE, "seeds": SEEDS, "tune_seed": TUNE_SEED, "rows": rows}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        mean, error = statistics.fmean(row["validation"]), standard_error(row["validation"]) or 0.0
        print(
            f"{screen.idea:1} {screen.name:50} {100 * mean:.1f} +- {100 * error:.1f}  {row['cpu_s']:.0f} s "
            f"{' '.join(row['settings'])}",
            flush=True,
        )


if __name__ == "__main__":
    main()
