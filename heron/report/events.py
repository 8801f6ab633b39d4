"""TensorBoard events of a run (extra `tensorboard`)."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from heron.errors import MissingExtraError

_NOT_SCALARS = {"round", "algorithm"}


def check_tensorboard() -> None:
    """Check early that events can be written.

    Raises:
        MissingExtraError: if TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("tensorboard", "tensorboard")


class EventWriter:
    """Writer of metrics rows as TensorBoard scalars, with the round as step; a context manager.

    Args:
        folder: folder of the event files.
        done: number of rounds finished in an earlier session; TensorBoard hides events written after them.

    Raises:
        MissingExtraError: if TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, done: int) -> None:
        check_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one round."""
        for name, value in row.items():
            if name not in _NOT_SCALARS and value is not None:
                self._writer.add_scalar(name, value, row["round"])
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
