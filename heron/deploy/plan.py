"""The parties of a deployment and their addresses, checked before anything is made."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, get_args

from heron.config import RECIPES, check_choice
from heron.errors import DeployError

ClientRuntime = Literal["torch", "onnx"]
"""The library that computes a client: PyTorch, or onnxruntime on an exported client."""
MAX_CLIENTS = 1000
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_MAX_NAME = 253


@dataclass(frozen=True)
class DeploymentPlan:
    """Plan of a deployment: one server and its clients.

    Attributes:
        num_clients: number of clients, one SuperNode each, in [1, 1000].
        host: the server's name (RFC 1123) or address, as clients call it.
        port: port of the SuperLink, in [1, 65535]; client i uses `port + 1 + i` of its own host, on loopback only.
        recipe: recipe that is trained by default; it determines the data that clients are asked to provide.
        runtime: `torch`, or `onnx` for clients whose hosts have no PyTorch.

    Raises:
        DeployError: if a number is out of range or the host is not valid.
        ConfigError: if there is no such recipe or runtime.
    """

    num_clients: int
    host: str = "127.0.0.1"
    port: int = 18000
    recipe: str = "digits"
    runtime: ClientRuntime = "torch"

    def __post_init__(self) -> None:
        if not 1 <= self.num_clients <= MAX_CLIENTS:
            raise DeployError(f"expected 1 to {MAX_CLIENTS} clients, found {self.num_clients}; change --clients")
        last = 65535 - self.num_clients
        if not 1 <= self.port <= last:
            raise DeployError(
                f"expected a port from 1 to {last}, the {self.num_clients} above it are the clients' own, found "
                f"{self.port}; change --port"
            )
        check_host(self.host)
        check_choice("recipe", self.recipe, RECIPES)
        check_choice("runtime", self.runtime, get_args(ClientRuntime))

    @property
    def listen(self) -> str:
        """The address that the SuperLink listens at: loopback stays loopback, else all interfaces."""
        address = address_of(self.host)
        if address is None:
            return "127.0.0.1" if self.host == "localhost" else "0.0.0.0"  # noqa: S104 - clients are on other hosts
        if address.is_loopback:
            return str(address)
        return "::" if address.version == 6 else "0.0.0.0"  # noqa: S104

    @property
    def control(self) -> str:
        """Address of the SuperLink for commands on the server's own host, as `address:port`."""
        own = {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(self.listen, self.listen)  # noqa: S104
        return f"[{own}]:{self.port}" if ":" in own else f"{own}:{self.port}"

    def local_port(self, client_id: int) -> int:
        """Port at which a SuperNode and its own processes communicate."""
        return self.port + 1 + client_id


def check_host(host: str) -> None:
    """Refuse a host that no client could reach by this name.

    Raises:
        DeployError: if it is neither a name nor an address of one host.
    """
    address = address_of(host)
    if address is not None:
        usable = not (address.is_unspecified or address.is_multicast)
    else:
        labels = host.split(".")
        # A last label that consists of digits is a mistyped address.
        usable = len(host) <= _MAX_NAME and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    if not usable:
        raise DeployError(
            f"expected a host's name in small letters or its address, as clients call it, found {host!r}; change --host"
        )


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in a host setting, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
