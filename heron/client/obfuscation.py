"""Labels and smashed data that are changed before anybody sees them, in the same way whenever an example is used.

Labels are those of randomised response (Warner, JASA 1965): with C classes a label stays with probability
e^eps / (e^eps + C - 1), and else is one of the others. The client learns from them, too, so that all that leaves it is
made of them: epsilon holds for the label of an example against everybody, however often the example is used.

Smashed data are scaled down to a norm, and noise is added that is drawn once for each example. That is no guarantee:
noise that is small enough to learn from hides little, and each upload of an example from another client part reveals
more. But it does not average out, as noise would that is drawn anew for each upload.

`B` examples of a batch, `D` values of an example.
"""

import math

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, to_host
from heron.client.progress import ClientData
from heron.data import Batch
from heron.errors import DataError
from heron.privacy.secret import Secret
from heron.privacy.vault import Vault
from heron.wire.kinds import to_kind_of
from heron.wire.terms import Terms

_LABELS, _NOISE = "labels", "smashed noise"


class Obfuscation:
    """Changes of labels before a client learns and uploads, and of smashed data before it uploads.

    Args:
        terms: of the run.
        vault: keeps the secret that labels and noise are drawn from; None where only a clip is set.
    """

    def __init__(self, terms: Terms, vault: Vault | None) -> None:
        self._smashed = terms.settings.smashed
        self._label_budget = terms.settings.privacy.label_budget
        self._num_classes = terms.upload.num_classes
        self._vault = vault

    def batch(self, batch: Batch, client_id: int, positions_B: NDArray[np.int64]) -> Batch:
        """Return a batch with the labels that the client shows.

        Args:
            batch: of the client's examples.
            client_id: from 0.
            positions_B: positions of the examples in the client's data.

        Raises:
            DataError: if a label is none of the classes.
        """
        if self._label_budget is None or not len(batch):
            return batch
        secret, given_B = self._secret(client_id), to_host(batch.labels)
        true_B = given_B.astype(np.int64)  # sums of narrow labels would overflow
        if not ((true_B >= 0) & (true_B < self._num_classes)).all():
            raise DataError(
                f"client {client_id}: expected labels from 0 to {self._num_classes - 1} with privacy.label_epsilon, "
                f"found others, which cannot be shown in place of one another; leave these examples out"
            )
        draws = [secret.uniforms(2, _LABELS, int(position)) for position in positions_B]
        keeps_B, others_B = np.array(draws).T
        steps_B = 1 + np.floor(others_B * (self._num_classes - 1)).astype(np.int64)
        shown_B = np.where(keeps_B < self.keeps, true_B, (true_B + steps_B) % self._num_classes)
        return Batch(batch.inputs, to_kind_of(shown_B.astype(given_B.dtype), batch.labels))

    @property
    def keeps(self) -> float:
        """Probability that a label stays."""
        assert self._label_budget is not None  # else labels are shown as they are
        return keep_probability(self._label_budget, self._num_classes)

    def smashed(self, smashed: Array, client_id: int, positions_B: NDArray[np.int64]) -> Array:
        """Return smashed data as they are uploaded.

        Args:
            smashed: shape (B, ...).
            client_id: from 0.
            positions_B: positions of the examples in the client's data.
        """
        clip, noise = self._smashed.clip, self._smashed.noise
        if not clip:
            return smashed
        plain = to_host(smashed)
        values_BD = plain.astype(np.float64).reshape(len(plain), -1)
        norms_B1 = np.sqrt(np.square(values_BD).sum(1, keepdims=True))
        values_BD *= np.minimum(1.0, clip / np.maximum(norms_B1, np.finfo(np.float64).tiny))
        if noise:
            secret = self._secret(client_id)
            values_BD += noise * np.stack(
                [secret.normal_sequence(values_BD.shape[1], _NOISE, int(one)) for one in positions_B]
            )
        return to_kind_of(values_BD.reshape(plain.shape).astype(plain.dtype), smashed)  # type: ignore[no-any-return]

    def _secret(self, client_id: int) -> Secret:
        assert self._vault is not None  # whoever draws has one
        return self._vault.secret.of(client_id)


class ShownData:
    """A client's examples with the labels that it shows.

    Args:
        data: the examples.
        veil: changes the labels.
        client_id: from 0.
    """

    def __init__(self, data: ClientData, veil: Obfuscation, client_id: int) -> None:
        self._data = data
        self._veil = veil
        self._client_id = client_id

    def __len__(self) -> int:
        """Return the number of examples, n."""
        return len(self._data)

    def batch(self, positions: NDArray[np.int64], seed: int) -> Batch:
        """Return examples; arguments as of `ClientData.batch`."""
        return self._veil.batch(self._data.batch(positions, seed), self._client_id, positions)


def obfuscation(terms: Terms, vault: Vault | None) -> Obfuscation | None:
    """Return what the clients of a run change; None where they show everything as it is.

    Args:
        terms: of the run.
        vault: keeps the secret.
    """
    settings = terms.settings
    return Obfuscation(terms, vault) if settings.smashed.clip or settings.privacy.label_budget else None


def keep_probability(epsilon: float, num_classes: int) -> float:
    """Return the probability with which randomised response keeps a label.

    Args:
        epsilon: of the label, > 0.
        num_classes: C, >= 2.
    """
    return 1.0 / (1.0 + (num_classes - 1) * math.exp(-epsilon))
