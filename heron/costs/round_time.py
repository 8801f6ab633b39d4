"""Simulated duration of a round on given devices and links: a function of traffic and computation, without a clock.

Clients of a round work in parallel, each with an uplink and a downlink of its own; the Main Server is one machine with
a queue. Let r_up, r_down be in bytes/s, l the one-way latency, and c (client) and s (server) speeds in FLOP/s. A
client's events, in its program order and from 0 at the start of the round, update these times:

    receive b bytes     down <- max(down, served) + b / r_down        clock <- max(clock, down + l)
    compute f FLOPs     clock <- clock + f / c
    send b bytes        up <- max(up, clock) + b / r_up               arrived <- up + l
    serve f FLOPs       server <- max(server, arrived) + f / s        served <- server

A link is serial, and its messages arrive in order, but a client that sends continues to compute. It waits only for what
it receives, and therefore for everything that was served before that. So a decoupled client, which receives only its
broadcast, overlaps its uploads with its computation. A coupled client waits for every answer: two latencies, two
transfers, the queue and the server's step. `server` is shared; uploads are served in the order of their arrival, equal
arrivals client after client.

The round ends when every client's reply has arrived or the client has dropped out, and the server has served all:

    max(server, clock_i, arrived_i over clients i)

A client that drops out delays the round only by its events until then: the loss of its connection is noticed at once.
Averaging and the servers' other work once per round take no time here.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Speeds of a client's device and links; infinity if something takes no time.

    Attributes:
        uplink_bytes_per_s: r_up, > 0.
        downlink_bytes_per_s: r_down, > 0.
        latency_s: l, one way, of every message, >= 0.
        flops_per_s: c, > 0.
    """

    uplink_bytes_per_s: float
    downlink_bytes_per_s: float
    latency_s: float
    flops_per_s: float


@dataclass(frozen=True)
class Receive:
    """Event: the client waits for a message from a server.

    Attributes:
        num_bytes: its size.
    """

    num_bytes: int


@dataclass(frozen=True)
class Compute:
    """Event: the client computes.

    Attributes:
        flops: number of floating-point operations.
    """

    flops: float


@dataclass(frozen=True)
class Send:
    """Event: the client puts a message to a server on the uplink.

    Attributes:
        num_bytes: its size.
    """

    num_bytes: int


@dataclass(frozen=True)
class Serve:
    """Event: the Main Server computes with the content of the latest message.

    Attributes:
        flops: number of floating-point operations.
    """

    flops: float


Event = Receive | Compute | Send | Serve


@dataclass(frozen=True)
class Timeline:
    """A client's events in a round.

    Attributes:
        device: its device.
        events: the events, in its program order.
    """

    device: Device
    events: Sequence[Event]


def round_seconds(timelines: Sequence[Timeline], server_flops_per_s: float) -> float:
    """Simulated time of a round in seconds, >= 0.

    Args:
        timelines: events of every participant, in the order in which equal arrivals are served.
        server_flops_per_s: s, > 0; infinity if serving takes no time.

    Examples:
        >>> phone = Device(uplink_bytes_per_s=10.0, downlink_bytes_per_s=20.0, latency_s=1.0, flops_per_s=5.0)
        >>> round_seconds([Timeline(phone, [Receive(40), Compute(10), Send(30)])], 1.0)  # 2 + 1, 2, 3 + 1
        9.0
    """
    clients = [_Client(timeline) for timeline in timelines]
    server = 0.0
    waiting: list[tuple[float, int, float]] = []

    def go_on(position: int) -> None:
        job = clients[position].next_job()
        if job is not None:
            heapq.heappush(waiting, (clients[position].arrived, position, job.flops))

    for position in range(len(clients)):
        go_on(position)
    # A client's later messages arrive later, so the earliest known arrival is the earliest of all.
    while waiting:
        arrived, position, flops = heapq.heappop(waiting)
        server = max(server, arrived) + flops / server_flops_per_s
        clients[position].served = server
        go_on(position)
    return max([server, *(max(client.clock, client.arrived) for client in clients)])


class _Client:
    """One client's part of the recursion, from one job for the server to the next."""

    def __init__(self, timeline: Timeline) -> None:
        self.clock = self.arrived = self.served = 0.0
        self._up = self._down = 0.0
        self._device = timeline.device
        self._events = iter(timeline.events)

    def next_job(self) -> Serve | None:
        """Follow the events up to the server's next job; None at their end."""
        device = self._device
        for event in self._events:
            match event:
                case Receive(num_bytes):
                    self._down = max(self._down, self.served) + num_bytes / device.downlink_bytes_per_s
                    self.clock = max(self.clock, self._down + device.latency_s)
                case Compute(flops):
                    self.clock += flops / device.flops_per_s
                case Send(num_bytes):
                    self._up = max(self._up, self.clock) + num_bytes / device.uplink_bytes_per_s
                    self.arrived = self._up + device.latency_s
                case Serve():
                    return event
        return None
