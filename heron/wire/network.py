"""Settings of what lies between the parties: the packing of messages, simulated lines and devices."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np

from heron.checked import Checked
from heron.ranges import NonNegativeFloat, NonNegativeInt, NumBytes, PositiveFloat, Share
from heron.seeds import derive_seed


@dataclass(frozen=True)
class DeviceProfile(Checked):
    """A class of devices: a table of a profile file, whose heading is the name.

    Attributes:
        name: e.g. `phone`.
        uplink_mbps: rate from a client to the servers in 10^6 bit/s; 0 for no limit.
        downlink_mbps: rate from the servers to a client; 0 for no limit.
        latency_ms: delay of every message in milliseconds, one way.
        speed: FLOPs per second of such a device over `link.client_gflops`.
        share: probability that a client which no class lists has such a device; 0 for a class that lists its clients.
        clients: ids of the clients that have one, from 0; empty for a class with a share.
        memory_budget: bytes for a client's step, or a text such as `512KiB`, for `client.memory_budget=device`; 0 for a
            class without one.
        exact: modules that such a client trains exactly, for `client.exact=device`; a budget chooses it.
    """

    name: str
    uplink_mbps: NonNegativeFloat
    downlink_mbps: NonNegativeFloat
    latency_ms: NonNegativeFloat
    speed: PositiveFloat
    share: Share
    clients: tuple[NonNegativeInt, ...]
    memory_budget: NumBytes = 0
    exact: NonNegativeInt | Literal["all"] = 0


@dataclass(frozen=True)
class Network(Checked, section="link"):
    """Section `[link]`: how messages are packed, and the time that they would take on lines and devices.

    Time is simulated where one of the numbers is not 0, or there are classes of devices; bytes do not depend on it.

    Attributes:
        bundle: one message for all that a client sends in a round, and compressed headers; decoupled algorithms only.
        uplink_mbps: rate from each client to the servers in 10^6 bit/s; 0 for no limit.
        downlink_mbps: rate from the servers to each client; 0 for no limit.
        latency_ms: delay of every message in milliseconds, one way.
        client_gflops: 10^9 FLOPs per second that a client sustains; 0 where its computing takes no time.
        server_gflops: 10^9 FLOPs per second of the Main Server; 0 where its computing takes no time.
        profile: a TOML file of device classes, read when it is set; empty for none.
        devices: content of the profile, in place of the rates and the latency above.
    """

    bundle: bool = False
    uplink_mbps: NonNegativeFloat = 0.0
    downlink_mbps: NonNegativeFloat = 0.0
    latency_ms: NonNegativeFloat = 0.0
    client_gflops: NonNegativeFloat = 0.0
    server_gflops: NonNegativeFloat = 0.0
    profile: str = ""
    devices: tuple[DeviceProfile, ...] = ()

    @property
    def takes_time(self) -> bool:
        """True if anything in it takes simulated time."""
        computes = self.client_gflops or self.server_gflops
        return bool(self.uplink_mbps or self.downlink_mbps or self.latency_ms or computes or self.devices)


class Assigned(Protocol):
    """A class of devices as far as it says whose they are."""

    @property
    def share(self) -> float:
        """Probability that a client which no class lists has such a device."""
        ...

    @property
    def clients(self) -> Collection[int]:
        """Clients that certainly have one."""
        ...


C = TypeVar("C", bound=Assigned)


def class_of(classes: Sequence[C], seed: int, client_id: int) -> C:
    """Return the class of a client's device: the one that lists it, or one drawn by the shares.

    Args:
        classes: at least one; every client has one.
        seed: seed of the run.
        client_id: number of the client, from 0.
    """
    for one in classes:
        if client_id in one.clients:
            return one
    drawn = np.random.default_rng(derive_seed("device", seed, client_id)).random()
    # Rounding can leave the sum below 1; draws beyond it get the last class with a share.
    shared = [one for one in classes if one.share]
    for one in shared[:-1]:
        if drawn < one.share:
            return one
        drawn -= one.share
    return shared[-1]
