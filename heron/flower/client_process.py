"""The process of a client app without what only Flower's SuperNode uses: 32 MiB of Flower's 122.

A SuperNode starts a process for every message, by the name `flwr-clientapp`. Flower's own command imports the package
of all commands of a SuperNode first, and with it a database and its migrations. This file runs the same function
without them. It stands alone, so that `heron deploy init` can copy it into a client's folder, and imports nothing of
heron: the app that Flower delivers brings its own.
"""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_COMMANDS = "flwr.supernode.cli"
_NAME = "flwr-clientapp"


def main() -> None:
    """Do what `flwr-clientapp` does; run Flower's own command where this Python has no Flower."""
    try:
        run = _client_app()
    except ImportError:
        own = str(Path(__file__).resolve().parent)
        others = [place for place in os.environ["PATH"].split(os.pathsep) if str(Path(place).resolve()) != own]
        os.environ["PATH"] = os.pathsep.join(others)
        try:
            os.execvp(_NAME, [_NAME, *sys.argv[1:]])  # noqa: S606 - the command that this one stands for
        except FileNotFoundError:
            sys.exit(f"expected Flower in {sys.executable} or {_NAME} on PATH, found neither; set HERON_BIN")
    run()


def _client_app() -> Callable[[], None]:
    """Import the command with an empty package around it, so that its neighbours are not imported."""
    spec = find_spec(_COMMANDS)
    if spec is None:
        raise ImportError(_COMMANDS)
    package = ModuleType(_COMMANDS)
    package.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[_COMMANDS] = package
    try:
        from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
    finally:
        del sys.modules[_COMMANDS]
    return flwr_clientapp


if __name__ == "__main__":
    main()
