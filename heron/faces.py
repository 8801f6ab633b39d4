"""Lazy faces of packages: a name is imported from its module when it is first asked for.

A face imports nothing itself, so that a process loads the modules that it uses and no others.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from heron.errors import MissingExtraError


@contextmanager
def extra_named() -> Iterator[None]:
    """Name the extra that installs PyTorch where an import within the block lacks it: around the imports of a face.

    Raises:
        MissingExtraError: if PyTorch is not installed, as on a device that only runs exported clients.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise MissingExtraError("torch", "train") from error


def lazy_face(
    package: str, homes: Mapping[str, str], packages: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package.

    The face imports the same names under `TYPE_CHECKING`, for type checkers and editors, and assigns the result in the
    other branch. Otherwise they would believe that every name exists:

        if TYPE_CHECKING:
            from heron.zo.rules import SGD as SGD
        else:
            __getattr__, __dir__ = lazy_face(__name__, {"SGD": "heron.zo.rules"})

    Args:
        package: name of the package.
        homes: module that defines each public name.
        packages: names of packages in it that are imported when they are asked for, too.

    Returns:
        The two functions. `__getattr__` keeps what it has imported in the package; where PyTorch is missing it raises
        `MissingExtraError`.
    """

    def get(name: str) -> Any:
        if name in packages:
            with extra_named():
                return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with extra_named():
            value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *packages})

    return get, names
