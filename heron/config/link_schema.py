"""The configuration of simulated devices and links."""

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from heron.config.section import NonNegativeFloat, NonNegativeInt, PositiveFloat, Section


def _tuple(value: object) -> object:
    """TOML has lists; a configuration that can be hashed has none."""
    return tuple(value) if isinstance(value, list) else value


class DeviceConfig(Section):
    """A class of devices: a table of a profile file, whose heading is the name.

    Attributes:
        name: e.g. `phone`.
        uplink_mbps: rate from a client to the servers in 10^6 bit/s; 0 for no limit.
        downlink_mbps: rate from the servers to a client; 0 for no limit.
        latency_ms: of every message, one way.
        speed: its FLOPs per second over `link.client_gflops`.
        share: probability that a client which no class lists has such a device; 0 for a class that lists its clients.
        clients: ids of the clients that have one, from 0; empty for a class with a share.
    """

    name: str
    uplink_mbps: NonNegativeFloat
    downlink_mbps: NonNegativeFloat
    latency_ms: NonNegativeFloat
    speed: PositiveFloat
    share: Annotated[float, Field(ge=0, le=1)]
    clients: Annotated[tuple[NonNegativeInt, ...], BeforeValidator(_tuple), PlainSerializer(list)]


class LinkConfig(Section):
    """Devices and links whose time is simulated, where anything here is not 0; measured bytes do not depend on it.

    Attributes:
        uplink_mbps: rate from each client to the servers in 10^6 bit/s; 0 for no limit.
        downlink_mbps: rate from the servers to each client; 0 for no limit.
        latency_ms: of every message, one way.
        client_gflops: 10^9 FLOPs per second that a client sustains; 0 where its computing takes no time.
        server_gflops: those of the Main Server; 0 where its computing takes no time.
        profile: a TOML file of device classes, read when it is set; empty for none.
        devices: what the profile holds, instead of the rates and the latency above.
    """

    uplink_mbps: NonNegativeFloat
    downlink_mbps: NonNegativeFloat
    latency_ms: NonNegativeFloat
    client_gflops: NonNegativeFloat
    server_gflops: NonNegativeFloat
    profile: str
    devices: Annotated[tuple[DeviceConfig, ...], BeforeValidator(_tuple), PlainSerializer(list)]
