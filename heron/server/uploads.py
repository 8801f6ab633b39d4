"""Uploads on the Main Server: unpacked for training, and kept as received for training again."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heron.errors import MessageError
from heron.tensors import as_tensor
from heron.wire import PackedData, SmashedData, Upload, unpack_upload

_PACKED = "packed/"


class UploadBuffer:
    """Buffer of the last uploads, as received.

    Args:
        size: number of uploads, >= 1; the oldest is dropped.
    """

    def __init__(self, size: int) -> None:
        self._kept: deque[SmashedData | PackedData] = deque(maxlen=size)

    def add(self, upload: SmashedData | PackedData) -> None:
        """Keep an upload."""
        self._kept.append(upload)

    def draw(self, seed: int, count: int) -> Iterator[SmashedData]:
        """Draw uploads uniformly with replacement and unpack them one at a time.

        Args:
            seed: seed of the draw.
            count: number of uploads to draw; at least one upload is kept.
        """
        for index in np.random.default_rng(seed).integers(len(self._kept), size=count):
            yield clean_upload(self._kept[index])

    def state(self) -> dict[str, Tensor]:
        """The kept uploads by name, oldest first, as tensors that share their memory."""
        state: dict[str, Tensor] = {}
        for index, upload in enumerate(self._kept):
            place = (upload.round_index, upload.client_id, upload.local_step)
            named: dict[str, Any] = {"place": torch.tensor(place), "labels": upload.labels}
            if isinstance(upload, PackedData):
                named |= {_PACKED + name: array for name, array in upload.packed.items()}
            else:
                named["smashed"] = upload.smashed
            state |= {f"{index}/{name}": as_tensor(array) for name, array in named.items()}
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a result of `state`."""
        uploads: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            index, _, name = key.partition("/")
            uploads.setdefault(int(index), {})[name] = tensor
        self._kept.clear()
        for _, named in sorted(uploads.items()):
            round_index, client_id, local_step = named.pop("place").tolist()
            labels = named.pop("labels")
            if "smashed" in named:
                self.add(SmashedData(round_index, client_id, local_step, named["smashed"], labels))
            else:
                packed = {name.removeprefix(_PACKED): tensor for name, tensor in named.items()}
                self.add(PackedData(round_index, client_id, local_step, packed, labels))


def clean_upload(upload: Upload) -> SmashedData:
    """Unpack an upload that can be trained on.

    Raises:
        MessageError: if the upload is a probe's, or damaged.
    """
    if isinstance(upload, PackedData):
        upload = unpack_upload(upload)
    if not isinstance(upload, SmashedData):
        raise MessageError(
            f"client {upload.client_id} in round {upload.round_index + 1}: expected SmashedData, found "
            f"{type(upload).__name__}; both sides need the same algorithm"
        )
    return upload
