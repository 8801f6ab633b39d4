"""View of an attacker: smashed data as clients upload them, and data of the attacker's own.

The attacker is any party that receives uploads and knows the client's part of the network, as the Main Server does if
it talks to the Fed Server. Its own data are of the same kind as the clients', and no client trained on them.

`n` examples, `B` of a batch.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from heron.algorithms import Algorithm
from heron.audit.observer import Observer, Seen
from heron.data import Batch, Examples, Splits, fetch, num_examples, partition
from heron.data.scan import scan
from heron.engines.in_process import Federation
from heron.errors import ConfigError
from heron.seeds import derive_seed
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.tensors import as_tensor
from heron.wire.groups import Settings

_MOST_KNOWN, _MOST_TEXTS = 2_000, 256  # a text has many tokens to learn from
_LEAST_KNOWN, _LEAST_VICTIMS = 16, 16


@dataclass(frozen=True)
class View:
    """Inputs of an attack: the run, its clients' examples, and examples of the attacker's own.

    Attributes:
        split: the trained network; attacks leave it as it is.
        algorithm: a row of `ALGORITHMS`.
        settings: of the run.
        criterion: mean loss over a batch.
        splits: the data of the run.
        victims: examples that clients trained on.
        known: the attacker's own.
        federation: builds the run anew, before its first round.
        seed: of what attacks draw.
    """

    split: SplitModel
    algorithm: Algorithm
    settings: Settings
    criterion: Criterion
    splits: Splits
    victims: Seen
    known: Seen
    federation: Callable[[], Federation]
    seed: int

    @property
    def are_images(self) -> bool:
        """True if inputs are images, shape (channels, height, width)."""
        shape = self.victims.inputs.shape[1:]
        return len(shape) == 3 and min(shape[1:]) > 2 and self.victims.inputs.is_floating_point()

    @property
    def are_tokens(self) -> bool:
        """True if inputs are sequences of tokens and smashed data have a vector for each."""
        smashed = self.victims.smashed
        has_vectors = smashed is not None and smashed.dim() == 3
        return has_vectors and self.victims.inputs.dim() == 2 and not self.victims.inputs.is_floating_point()

    @property
    def are_classes(self) -> bool:
        """True if a label is one class."""
        return self.victims.labels.dim() == 1 and not self.victims.labels.is_floating_point()


def check_examples(examples: int, name: str = "examples") -> None:
    """Refuse a number of victims that an attack cannot be judged by.

    Args:
        examples: most victims.
        name: of the number, for the message.

    Raises:
        ConfigError: if there are fewer than 16.
    """
    if examples < _LEAST_VICTIMS:
        raise ConfigError(f"expected {name} of at least {_LEAST_VICTIMS}, found {examples}")


def make_view(
    split: SplitModel,
    algorithm: Algorithm,
    settings: Settings,
    splits: Splits,
    *,
    criterion: Criterion = cross_entropy,
    federation: Callable[[], Federation] | None = None,
    examples: int = 256,
) -> View:
    """Let an attacker see a run's trained network and what clients would upload with it.

    Args:
        split: the trained network, equipped as `heron.train` leaves it.
        algorithm: a row of `heron.algorithms.ALGORITHMS`.
        settings: of the run.
        splits: its data; validation and test examples are the attacker's own.
        criterion: mean loss over a batch.
        federation: builds the run anew, before its first round; by default one that begins at the trained network.
        examples: most victims.

    Raises:
        ConfigError: if fewer victims are asked for than an attack can be judged by, or there are too few examples
            outside the clients' data.
    """
    check_examples(examples)
    seed = derive_seed("audit", settings.seed) >> 1  # fields are signed
    device, batch_size = torch.device(settings.device), settings.client.batch_size
    victims = _drawn(splits.train, examples, batch_size, seed, device)
    known = _joined([_drawn(part, _MOST_KNOWN, 1, seed, device) for part in (splits.validation, splits.test)])
    if victims is None or known is None or len(known.labels) < _LEAST_KNOWN:
        raise ConfigError(
            f"expected at least {_LEAST_KNOWN} validation and test examples for the attacker to learn from, found "
            f"{0 if known is None else len(known.labels)}; raise data.validation or take other data"
        )
    observer = Observer(split, algorithm, settings, criterion, victims, num_classes=splits.num_classes, seed=seed)
    return View(
        split,
        algorithm,
        settings,
        criterion,
        splits,
        victims=observer.seen(victims, 0),
        known=observer.seen(known, 1),
        federation=federation or _beginning_at(split, algorithm, settings, splits, criterion),
        seed=seed,
    )


def _beginning_at(
    split: SplitModel, algorithm: Algorithm, settings: Settings, splits: Splits, criterion: Criterion
) -> Callable[[], Federation]:
    """Return a function that builds a run which begins at a trained network."""

    def build() -> Federation:
        clients = settings.clients
        shares = partition(
            clients.partition,
            scan(splits.train).labels,
            num_clients=clients.total,
            alpha=clients.alpha,
            seed=settings.seed,
            groups=splits.groups,
        )
        return Federation(copy.deepcopy(split), algorithm, splits.train, shares, settings, criterion)

    return build


def _drawn(dataset: Examples, count: int, multiple: int, seed: int, device: torch.device) -> Batch | None:
    """Draw examples without replacement, whole batches if there are as many; None from an empty data set."""
    total = num_examples(dataset)
    if not total:
        return None
    first = as_tensor(fetch(dataset, np.zeros(1, np.int64)).inputs)
    count = min(count, total, total if first.is_floating_point() else _MOST_TEXTS)
    count -= count % multiple if count > multiple else 0
    chosen = np.random.default_rng(seed).permutation(total)[:count]
    return fetch(dataset, chosen.astype(np.int64), device)


def _joined(batches: list[Batch | None]) -> Batch | None:
    """Join data sets whose inputs have one shape; of others take the largest."""
    found = [batch for batch in batches if batch is not None]
    if not found:
        return None
    inputs, labels = ([as_tensor(getattr(batch, name)) for batch in found] for name in ("inputs", "labels"))
    if len({tuple(tensor.shape[1:]) for tensor in inputs}) > 1:
        return max(found, key=len)
    return Batch(torch.cat(inputs), torch.cat(labels))
