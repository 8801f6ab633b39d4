"""Settings of the whole process that a training needs, and their return to what they were."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from heron.config.parts import use_threads_and_device
from heron.errors import ConfigError
from heron.wire.groups import Settings


class _Process:
    """Settings of torch for the process, from the first training that begins to the last that ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: list[tuple[int, int]] = []
        self._before = (0, False, False)

    @contextmanager
    def set_for(self, settings: Settings) -> Iterator[None]:
        user = (threading.get_ident(), settings.threads)
        with self._lock:
            self._refuse_another_number(*user)
            cudnn, outer = torch.backends.cudnn, torch.get_num_threads()
            if not self._users:
                self._before = (outer, cudnn.deterministic, cudnn.benchmark)
            self._users.append(user)
        try:
            use_threads_and_device(settings)
            yield
        finally:
            with self._lock:
                self._users.remove(user)
                # Each thread has a number of its own, and those to come have the last one that was set.
                torch.set_num_threads(outer if self._users else self._before[0])
                if not self._users:
                    cudnn.deterministic, cudnn.benchmark = self._before[1:]

    def _refuse_another_number(self, thread: int, wanted: int) -> None:
        for other, number in self._users:
            if other != thread and number != wanted:
                raise ConfigError(
                    f"threads: expected {number}, as another training in this process has now, found {wanted}; give "
                    f"both the same number, or run them one after the other"
                )


_PROCESS = _Process()


@contextmanager
def process_set_for(settings: Settings) -> Iterator[None]:
    """Run the body with torch's threads and cuDNN as settings ask for; afterwards they are as before.

    Contexts of the caller that would change what is computed do not hold in the body: autocast, which would also
    compute with weights from before they were trained, `no_grad` and `inference_mode`.

    Several threads of a process may run such bodies at a time, if they ask for the same number of threads.

    Raises:
        ConfigError: if the device is absent, or another thread runs such a body with another number of threads.
    """
    with _PROCESS.set_for(settings), ExitStack() as contexts:
        contexts.callback(torch.clear_autocast_cache)
        for kind in {"cpu", torch.device(settings.device).type}:
            contexts.enter_context(torch.autocast(kind, enabled=False))
        contexts.enter_context(torch.inference_mode(False))
        contexts.enter_context(torch.enable_grad())
        yield
