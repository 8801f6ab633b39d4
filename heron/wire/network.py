"""Settings of what lies between the parties: the packing of messages, simulated lines and devices."""

from dataclasses import dataclass

from heron.checked import Checked
from heron.ranges import NonNegativeFloat, NonNegativeInt, PositiveFloat, Share


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
    """

    name: str
    uplink_mbps: NonNegativeFloat
    downlink_mbps: NonNegativeFloat
    latency_ms: NonNegativeFloat
    speed: PositiveFloat
    share: Share
    clients: tuple[NonNegativeInt, ...]


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
