"""A clock that divides a process's CPU time among the model, the updates and the engine; imports nothing of `heron`.

    model     forward passes, losses, backward passes
    updates   optimisers, perturbations and steps of zeroth order
    engine    everything else: messages, states, batches, aggregation, checkpoints

Time belongs to the innermost of these.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

KINDS = ("model", "updates", "engine")


class WorkClock:
    """CPU seconds of this process by kind, as long as it watches."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self._kinds = ["engine"]
        self._since = 0.0

    def start(self) -> None:
        """Begin again at zero."""
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self._since = time.process_time()

    def stop(self) -> dict[str, float]:
        """Return the seconds since the start."""
        self._charge()
        return dict(self.seconds)

    def timed(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function whose time is of a kind."""

        def call(*arguments: Any, **named: Any) -> Any:
            if self._kinds[-1] == kind:
                return function(*arguments, **named)
            self._charge()
            self._kinds.append(kind)
            try:
                return function(*arguments, **named)
            finally:
                self._charge()
                self._kinds.pop()

        return call

    @contextmanager
    def watching(self, *targets: tuple[str, Any, str]) -> Iterator[None]:
        """Time modules and backward passes within a block, and these (kind, object, attribute)."""
        model: list[tuple[str, Any, str]] = [
            ("model", torch.nn.Module, "__call__"),
            ("model", torch.autograd, "backward"),
        ]
        with ExitStack() as stack:
            for kind, owner, name in [*model, *targets]:
                stack.enter_context(mock.patch.object(owner, name, self.timed(kind, getattr(owner, name))))
            yield

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self._kinds[-1]] += now - self._since
        self._since = now
