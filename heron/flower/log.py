"""Lines of the apps' logs: events of runs, rounds and clients; never data."""

import logging

# A child of Flower's logger: its lines appear together with Flower's, even in `flwr run --stream`.
_LOGGER = logging.getLogger("flwr.heron")
_MAX_LETTERS = 300


def say(event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Write a line such as `heron: client refused run=7 round=3 client=2 fault=late`.

    Args:
        event: name of the event.
        level: level of the standard library's `logging`.
        facts: names and values, numbers and short texts.
    """
    told = " ".join(f"{name.replace('_', '-')}={_plain(value)}" for name, value in facts.items())
    _LOGGER.log(level, "heron: %s %s", event, told)


def warn(event: str, **facts: object) -> None:
    """Write a line as a warning."""
    say(event, level=logging.WARNING, **facts)


def _plain(value: object) -> str:
    """Text on one line, printable and of limited length, because part of it may come from a stranger."""
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(value).split()))[:_MAX_LETTERS]
    return f'"{text}"' if " " in text else text
