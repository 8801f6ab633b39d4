"""The sections about what travels between clients and servers, and how long that would take."""

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

from heron.config.section import NonNegativeFloat, NonNegativeInt, PositiveFloat, Section
from heron.wire import Codec


def _tuple(value: object) -> object:
    """TOML has lists; a configuration that can be hashed has none."""
    return tuple(value) if isinstance(value, list) else value


class SmashedConfig(Section):
    """How clients write the smashed data that they upload; hosl's clients have the defaults only.

    Attributes:
        codec: bits of a value: `fp32` and `fp16`, or `int8`, `int4` and `dither6` (8/3 bits) per channel with random
            rounding.
        zstd: lossless compression on top, tensor by tensor where it pays.
    """

    codec: Codec
    zstd: bool


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
    """The link between clients and servers: how messages are packed, and what time they would take.

    Time is simulated where one of the numbers is not 0, or there are classes of devices; bytes do not depend on it.

    Attributes:
        bundle: one message for all that a client sends in a round, and compressed headers; decoupled algorithms only.
        uplink_mbps: rate from each client to the servers in 10^6 bit/s; 0 for no limit.
        downlink_mbps: rate from the servers to each client; 0 for no limit.
        latency_ms: of every message, one way.
        client_gflops: 10^9 FLOPs per second that a client sustains; 0 where its computing takes no time.
        server_gflops: those of the Main Server; 0 where its computing takes no time.
        profile: a TOML file of device classes, read when it is set; empty for none.
        devices: what the profile holds, instead of the rates and the latency above.
    """

    bundle: bool
    uplink_mbps: NonNegativeFloat
    downlink_mbps: NonNegativeFloat
    latency_ms: NonNegativeFloat
    client_gflops: NonNegativeFloat
    server_gflops: NonNegativeFloat
    profile: str
    devices: Annotated[tuple[DeviceConfig, ...], BeforeValidator(_tuple), PlainSerializer(list)]

    @property
    def takes_time(self) -> bool:
        """Whether anything in it takes simulated time."""
        computes = self.client_gflops or self.server_gflops
        return bool(self.uplink_mbps or self.downlink_mbps or self.latency_ms or computes or self.devices)
