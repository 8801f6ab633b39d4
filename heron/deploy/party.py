"""One party's folder: its settings and the files that belong to it."""

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from heron.deploy.lean import REQUIREMENTS
from heron.errors import DeployError

# A line of an env file, in the subset of the shell's language that these files use.
_LINE = re.compile(r'([A-Z_]+)="([^"\\`]*)"\s*(?:#.*)?')
_SERVER_FILES = (
    "server.env",
    "server.sh",
    "flwr.sh",
    "register.sh",
    "train.sh",
    "ca.crt",
    "server.crt",
    "server.key",
)
_CLIENT_FILES = ("client.env", "ca.crt", "node.key", "node.key.pub")


@dataclass(frozen=True)
class Party:
    """One party: the server or a client.

    Attributes:
        folder: its folder; nothing outside it belongs to the party.
        settings: the values of its env file, with `$HERE` and earlier variables substituted.
    """

    folder: Path
    settings: dict[str, str]

    @property
    def is_server(self) -> bool:
        """Return whether the party is the server."""
        return (self.folder / "server.env").exists()

    @property
    def is_lean(self) -> bool:
        """Return whether the party is a client whose host needs no PyTorch."""
        return bool(self.settings.get("HERON_BUNDLE"))

    @property
    def name(self) -> str:
        """`server` or `client-N`."""
        return "server" if self.is_server else f"client-{self.settings.get('HERON_CLIENT', '?')}"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that the party requires."""
        if self.is_server:
            return _SERVER_FILES
        return (*_CLIENT_FILES, f"{self.name}.sh", *([REQUIREMENTS] if self.is_lean else []))

    @property
    def key(self) -> str:
        """Name of its private key's file."""
        return "server.key" if self.is_server else "node.key"

    def setting(self, name: str) -> str:
        """A required value.

        Raises:
            DeployError: if it is absent.
        """
        if not self.settings.get(name):
            raise DeployError(f'expected a line {name}="..." in the env file of {self.name}, found none; restore it')
        return self.settings[name]

    def port(self, name: str) -> int:
        """A value that is a port number.

        Raises:
            DeployError: if it is not a port number.
        """
        if (number := self.count(name)) > 65535:
            raise DeployError(f"expected {name} up to 65535 in the env file of {self.name}, found {number}")
        return number

    def count(self, name: str) -> int:
        """A value that is a whole number of at least 1.

        Raises:
            DeployError: if it is not.
        """
        text = self.setting(name)
        if not (text.isascii() and text.isdecimal() and len(text) < 7 and int(text) > 0):
            raise DeployError(f"expected {name} as a whole number in the env file of {self.name}, found {text!r}")
        return int(text)


def find_parties(folder: Path) -> list[Party]:
    """Find the parties whose folders are here: the folder itself, or those directly in it, the server first.

    Raises:
        DeployError: if there is none, or an env file cannot be read.
    """
    candidates = [folder, folder / "server", *sorted(folder.glob("client-*"), key=_number)]
    found = [
        Party(each, read_settings(each / name))
        for each in candidates
        for name in ("server.env", "client.env")
        if (each / name).is_file()
    ]
    if not found:
        raise DeployError(
            f"expected a folder that `heron deploy init` made, or one party's folder of it, found no server.env and no "
            f"client.env in {folder}"
        )
    return found


def read_settings(path: Path) -> dict[str, str]:
    """Read the values of an env file.

    Raises:
        DeployError: if it cannot be read, or a line is not `NAME="value"`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"expected a text file that can be read, found {path} ({type(error).__name__})") from error
    values = {"HERE": str(path.parent.absolute())}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise DeployError(f'{path}: expected NAME="value" with no blank before it, found line {number}; fix it')
        values[match[1]] = Template(match[2]).safe_substitute(values)
    return values


def _number(path: Path) -> tuple[int, str]:
    digits = path.name.removeprefix("client-")
    return (int(digits) if digits.isdecimal() and len(digits) < 10 else 10**10, path.name)
