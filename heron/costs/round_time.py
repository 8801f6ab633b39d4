"""How long a round would take on given devices and links: a function of what was sent and computed, of no clock.

Clients of a round work side by side, each with an uplink and a downlink of its own; the Main Server is one machine
with a queue. With r_up, r_down in bytes/s, one-way latency l and speeds c (client) and s (server) in FLOP/s, the times
that a client's events leave behind are, in its program order and from 0 at the start of the round,

    receive b bytes     down <- max(down, served) + b / r_down        clock <- max(clock, down + l)
    compute f FLOPs     clock <- clock + f / c
    send b bytes        up <- max(up, clock) + b / r_up               arrived <- up + l
    serve f FLOPs       server <- max(server, arrived) + f / s        served <- server

A link is serial and a message on it cannot be overtaken, but a client that sends goes on computing: only what it
receives makes it wait, for everything that was served before it. So a decoupled client, which receives its broadcast
alone, overlaps its uploads with its computing, and a coupled one waits for every answer: two latencies, two transfers,
the queue and the server's step. `server` is shared; uploads are served in the order of their arrival, equal ones client
after client.

The round ends when every client has had its reply received or has vanished, and the server has served all:

    max(server, clock_i, arrived_i over clients i)

A client that drops out delays the round by what it did until then, and by nothing else: the loss of its connection
shows at once. Averaging and what else servers do once a round takes no time here.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """What a client computes and sends with; infinity where that takes no time.

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
    """A message from a server has come before the client goes on.

    Attributes:
        num_bytes: its size.
    """

    num_bytes: int


@dataclass(frozen=True)
class Compute:
    """The client computes.

    Attributes:
        flops: how much.
    """

    flops: float


@dataclass(frozen=True)
class Send:
    """A message to a server is put on the uplink.

    Attributes:
        num_bytes: its size.
    """

    num_bytes: int


@dataclass(frozen=True)
class Serve:
    """The Main Server computes with what the latest message brought.

    Attributes:
        flops: how much.
    """

    flops: float


Event = Receive | Compute | Send | Serve


@dataclass(frozen=True)
class Timeline:
    """What a client did in a round.

    Attributes:
        device: what it did it with.
        events: in its program order.
    """

    device: Device
    events: Sequence[Event]


def round_seconds(timelines: Sequence[Timeline], server_flops_per_s: float) -> float:
    """Simulated time of a round in seconds, >= 0.

    Args:
        timelines: of every participant, in the order in which equal arrivals are served.
        server_flops_per_s: s, > 0; infinity where serving takes no time.

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
    # What a client sends later arrives later: the earliest arrival that is known is the earliest there will be.
    while waiting:
        arrived, position, flops = heapq.heappop(waiting)
        server = max(server, arrived) + flops / server_flops_per_s
        clients[position].served = server
        go_on(position)
    return max([server, *(max(client.clock, client.arrived) for client in clients)])


class _Client:
    """One client's side of the recursion, from one job for the server to the next."""

    def __init__(self, timeline: Timeline) -> None:
        self.clock = self.arrived = self.served = 0.0
        self._up = self._down = 0.0
        self._device = timeline.device
        self._events = iter(timeline.events)

    def next_job(self) -> Serve | None:
        """Follow the events to what the server has to do next; None at their end."""
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
