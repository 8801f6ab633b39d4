"""Range checks of the model builders' arguments."""

from typing import Any

from heron.errors import SplitError


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Refuse a value that is not an integer of at least `minimum`.

    Raises:
        SplitError: naming the argument, the range and the value.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise SplitError(f"expected {name} to be an integer of at least {minimum}, found {value!r}")
