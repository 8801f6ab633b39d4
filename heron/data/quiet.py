"""Silence for other libraries: their progress bars, log lines and warnings stay off the user's terminal."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from heron.randomness import one_thread_at_a_time

_LOGGERS = ("datasets", "huggingface_hub")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence `datasets`, `huggingface_hub` and warnings within a block, then restore their settings.

    Errors in the block are raised as usual; only output is suppressed. `datasets` must be installed.
    """
    import datasets

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    with one_thread_at_a_time(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bars_were_on = not datasets.are_progress_bars_disabled()
        levels = [logger.level for logger in loggers]
        try:
            datasets.disable_progress_bars()
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            if bars_were_on:
                datasets.enable_progress_bars()
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
