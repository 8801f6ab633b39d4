"""The command by which a client's SuperNode starts its apps, in place of Flower's own."""

from importlib.util import find_spec
from pathlib import Path

from heron.deploy.files import write_file
from heron.deploy.render import script

_PROCESS = "heron.flower.client_process"


def write_client_process(folder: Path) -> None:
    """Write `flwr-clientapp`, to come before Flower's on the PATH of a SuperNode, and the file that it runs.

    Args:
        folder: where they go.

    Raises:
        OSError: if a file cannot be written.
    """
    spec = find_spec(_PROCESS)
    assert spec is not None  # a file of this package
    assert spec.origin is not None
    write_file(folder / "flwr-clientapp", script("flwr-clientapp.sh"), executable=True)
    write_file(folder / "flwr-clientapp.py", Path(spec.origin).read_bytes())
