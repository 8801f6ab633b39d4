"""Uploads as a receiver sees them: computed and packed the way a client of a run does it.

`n` examples.
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
from heron.data import Batch
from heron.engines.agreement import agree
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
    from heron.arrays import Array


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
