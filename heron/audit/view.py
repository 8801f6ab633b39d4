"""View of an attacker: smashed data as clients upload them, and data of the attacker's own.

The attacker is any party that receives uploads and knows the client's part of the network, as the Main Server does if
it talks to the Fed Server. Its own data are of the same kind as the clients', and no client trained on them.

`n` examples, `B` of a batch.
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heron.algorithms import Algorithm
from heron.client.obfuscation import obfuscation
from heron.data import Batch, Examples, Splits, fetch, num_examples
from heron.engines.agreement import agree
from heron.errors import ConfigError
from heron.privacy.secret import NUM_BYTES, Secret
from heron.privacy.vault import Vault
from heron.seeds import derive_seed
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.tensors import as_tensor
from heron.wire.groups import Settings
from heron.wire.messages import SmashedData
from heron.wire.smashed import pack_upload, unpack_upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from heron.arrays import Array
    from heron.engines.in_process import Federation

_MOST_KNOWN, _MOST_TEXTS = 2_000, 256  # a text has many tokens to learn from
_LEAST_KNOWN, _LEAST_VICTIMS = 16, 16


@dataclass(frozen=True)
class Seen:
    """Examples with their uploads, as an attacker receives these.

    Attributes:
        inputs: shape (n, ...).
        labels: shape (n, ...).
        smashed: as uploaded, float32, shape (n, ...); None where the algorithm uploads nothing.
        shown: labels as uploaded, shape (n, ...); None where nothing is.
    """

    inputs: Tensor
    labels: Tensor
    smashed: Tensor | None
    shown: Tensor | None = None


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
    federation: "Callable[[], Federation]"
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
    criterion: Criterion,
    splits: Splits,
    federation: "Callable[[], Federation]",
    *,
    examples: int,
) -> View:
    """Let an attacker see a run's trained network and what clients would upload with it.

    Args:
        split: the trained network.
        algorithm: a row of `ALGORITHMS`.
        settings: of the run.
        criterion: mean loss over a batch.
        splits: its data; validation and test examples are the attacker's own.
        federation: builds the run anew.
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
        federation=federation,
        seed=seed,
    )


class Observer:
    """Receiver of uploads: computes and packs smashed data the way a client of the run does.

    Args:
        split: the trained network; copied.
        algorithm: a row of `ALGORITHMS`.
        settings: of the run.
        criterion: mean loss over a batch.
        examples: a few.
        num_classes: C; labels are in [0, C).
        seed: of Dropout masks, of the rounding of codecs, and in place of a device's secret.
    """

    def __init__(
        self,
        split: SplitModel,
        algorithm: Algorithm,
        settings: Settings,
        criterion: Criterion,
        examples: Batch,
        *,
        num_classes: int,
        seed: int,
    ) -> None:
        self._uploads = algorithm.uploads != "never"
        self._settings = settings
        self._seed = seed
        parts = copy.deepcopy(split).train()
        few = Batch(examples.inputs[:2], examples.labels[:2])
        terms = agree(parts, algorithm, settings, criterion, few, num_classes=num_classes)
        vault = Vault(Secret(np.random.default_rng(seed).bytes(NUM_BYTES)))
        self._veil = obfuscation(terms, vault)
        self._runtime = algorithm.torch_runtime(parts, criterion, settings)

    def seen(self, batch: Batch, client_id: int) -> Seen:
        """Return a client's examples with their uploads, made batch by batch of `client.batch_size`."""
        inputs, labels = as_tensor(batch.inputs), as_tensor(batch.labels)
        if not self._uploads:
            return Seen(inputs, labels, None)
        size, pieces, shown = self._settings.client.batch_size, [], []
        for number, start in enumerate(range(0, len(labels), size)):
            piece = Batch(inputs[start : start + size], labels[start : start + size])
            positions = np.arange(start, start + len(piece))
            piece = piece if self._veil is None else self._veil.batch(piece, client_id, positions)
            seed = derive_seed("audited uploads", self._seed, client_id, number)
            pieces.append(self._upload(piece, client_id, positions, seed))
            shown.append(as_tensor(piece.labels, self._settings.device))
        return Seen(inputs, labels, torch.cat(pieces), torch.cat(shown))

    def _upload(self, batch: Batch, client_id: int, positions: NDArray[np.int64], seed: int) -> Tensor:
        smashed: Array = self._runtime.smash(batch, seed)
        if self._veil is not None:
            smashed = self._veil.smashed(smashed, client_id, positions)
        codec = self._settings.smashed
        if codec.packs:
            smashed = unpack_upload(pack_upload(SmashedData(0, 0, 0, smashed, batch.labels), codec, seed)).smashed
        return as_tensor(smashed, self._settings.device).float()


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
