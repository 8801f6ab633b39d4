"""The expected form of an upload, and a check against it. `B` examples of a batch."""

import math
from dataclasses import dataclass, replace

import torch

from heron.arrays import Array
from heron.data import IGNORED
from heron.errors import MessageError
from heron.flower.faults import RefusedError
from heron.tensors import as_tensor
from heron.wire import MAX_ELEMENTS, PackedData, unpack_upload
from heron.wire.groups import Smashed
from heron.wire.terms import UploadTerm


@dataclass(frozen=True)
class Expected:
    """Expected form of an upload.

    Attributes:
        smashed: shape of the smashed data of one example.
        dtype: dtype of the smashed data.
        labels: shape of one label.
        labels_dtype: dtype of the labels.
        num_classes: C; integer labels are in [0, C), or `IGNORED`.
    """

    smashed: tuple[int, ...]
    dtype: torch.dtype
    labels: tuple[int, ...]
    labels_dtype: torch.dtype
    num_classes: int

    @classmethod
    def of(cls, upload: UploadTerm) -> "Expected":
        """Return the form that a run's terms give an upload."""
        dtypes: list[torch.dtype] = [getattr(torch, name) for name in (upload.dtype, upload.labels_dtype)]
        return cls(upload.smashed, dtypes[0], upload.labels, dtypes[1], upload.num_classes)

    def check(self, smashed_data: Array, its_labels: Array, batch_size: int) -> None:
        """Refuse an upload that the Main Server cannot train on.

        Raises:
            RefusedError: with a description of the mistake.
        """
        smashed, labels = as_tensor(smashed_data), as_tensor(its_labels)
        found = (smashed.dtype, labels.dtype)
        if found != (self.dtype, self.labels_dtype):
            raise RefusedError("malformed", f"expected types {self.dtype} and {self.labels_dtype}, found {found}")
        sizes, expected_sizes = tuple(smashed.shape), self.smashed
        label_sizes = tuple(labels.shape)
        is_sequence = self._is_sequence
        if is_sequence and len(sizes) > 1:  # as long as the longest of the batch
            expected_sizes = (sizes[1], *expected_sizes[1:])
        expected_labels = (sizes[:1] + sizes[1:2]) if is_sequence else (*sizes[:1], *self.labels)
        if sizes[1:] != expected_sizes or label_sizes != expected_labels or not 1 <= sizes[0] <= batch_size:
            raise RefusedError(
                "malformed",
                f"expected at most {batch_size} examples of {self.smashed} with labels of {self.labels}, found "
                f"{sizes[:8]} and {label_sizes[:8]}",
            )
        if not bool(torch.isfinite(smashed).all()):
            raise RefusedError("not_finite", "expected finite smashed data, found NaN or infinity")
        if not labels.dtype.is_floating_point:
            known = ((labels >= 0) & (labels < self.num_classes)) | (labels == IGNORED)
            if not bool(known.all()):
                raise RefusedError("malformed", f"expected labels from 0 to {self.num_classes - 1}, found others")
        elif not bool(torch.isfinite(labels).all()):
            raise RefusedError("not_finite", "expected finite labels, found NaN or infinity")

    def check_packed(self, upload: PackedData, codec: Smashed, batch_size: int) -> None:
        """The same for one that was packed; no more values are unpacked than belong to its labels.

        Args:
            upload: message of a client.
            codec: the codec that the client should have used.
            batch_size: B.

        Raises:
            RefusedError: with a description of the mistake.
        """
        if not upload.packed.keys() & set(codec.names):
            raise RefusedError("malformed", f"expected smashed data as {' or '.join(codec.names)}, found others")
        is_exact = self.labels_dtype.is_floating_point or self.labels_dtype == torch.bool
        unpacked = replace(self, dtype=torch.float32, labels_dtype=self.labels_dtype if is_exact else torch.int64)
        sizes = tuple(upload.labels.shape)
        values = self.smashed[1:] if self._is_sequence else self.smashed
        num_values = math.prod(sizes[:2] if self._is_sequence else sizes[:1]) * math.prod(values)
        try:
            clean = unpack_upload(upload, max_elements=min(num_values, MAX_ELEMENTS))
        except MessageError as error:
            raise RefusedError("malformed", str(error)) from error
        unpacked.check(clean.smashed, clean.labels, batch_size)

    @property
    def _is_sequence(self) -> bool:
        """Return whether every position has a label and batches are as long as their longest example."""
        return len(self.labels) == 1 and not self.labels_dtype.is_floating_point
