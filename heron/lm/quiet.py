"""Silence for `transformers`: its progress bars and log lines stay off the user's terminal."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the library within a block, then restore its settings; errors are raised as usual."""
    from transformers.utils import logging

    level, bars_were_on = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        yield
    finally:
        logging.set_verbosity(level)
        if bars_were_on:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
