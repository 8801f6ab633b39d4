"""A round as a simulation of its machines tick by tick: links, computers and a queue, no recursion and no heap.

For durations that are whole numbers of ticks.
"""

from collections import deque
from collections.abc import Sequence

from heron.costs.round_time import Compute, Receive, Send, Serve, Timeline


class Pipe:
    """A serial line: one message at a time is on it, then it flies."""

    def __init__(self, bytes_per_tick: float, latency: float) -> None:
        self.bytes_per_tick = bytes_per_tick
        self.latency = whole(latency)
        self.queue: deque[list[int]] = deque()
        self.flying: list[list[int]] = []
        self.num_arrived = 0

    def put(self, num_bytes: int) -> None:
        self.queue.append([whole(num_bytes / self.bytes_per_tick)])

    def settle(self) -> bool:
        changed = False
        if self.queue and self.queue[0][0] == 0:
            self.queue.popleft()
            self.flying.append([self.latency])
            changed = True
        if self.flying and self.flying[0][0] == 0:
            self.flying.pop(0)
            self.num_arrived += 1
            changed = True
        return changed

    def tick(self) -> None:
        if self.queue:
            self.queue[0][0] -= 1
        for message in self.flying:
            message[0] -= 1

    @property
    def idle(self) -> bool:
        return not self.queue and not self.flying


class Party:
    """A client with its lines."""

    def __init__(self, timeline: Timeline) -> None:
        device = timeline.device
        self.events = list(timeline.events)
        self.flops_per_tick = device.flops_per_s
        self.up = Pipe(device.uplink_bytes_per_s, device.latency_s)
        self.down = Pipe(device.downlink_bytes_per_s, device.latency_s)
        self.at = 0
        self.working: int | None = None
        self.num_received = 0
        self.num_served = 0
        # What the server sends once it has served so many, and serves once so many messages are there.
        self.to_send: deque[tuple[int, int]] = deque()
        self.jobs: deque[tuple[int, float]] = deque()
        num_serves = num_sends = 0
        for event in self.events:
            match event:
                case Receive(num_bytes):
                    self.to_send.append((num_serves, num_bytes))
                case Send():
                    num_sends += 1
                case Serve(flops):
                    num_serves += 1
                    self.jobs.append((num_sends, flops))

    def settle(self) -> bool:
        changed = self.up.settle() | self.down.settle()
        if self.to_send and self.num_served >= self.to_send[0][0]:
            self.down.put(self.to_send.popleft()[1])
            changed = True
        if self.at == len(self.events):
            return changed
        match self.events[self.at]:
            case Receive():
                if self.down.num_arrived > self.num_received:
                    self.num_received += 1
                    return self.go_on()
            case Compute(flops):
                if self.working is None:
                    self.working = whole(flops / self.flops_per_tick)
                if self.working == 0:
                    self.working = None
                    return self.go_on()
            case Send(num_bytes):
                self.up.put(num_bytes)
                return self.go_on()
            case Serve():
                return self.go_on()
        return changed

    def go_on(self) -> bool:
        self.at += 1
        return True

    def tick(self) -> None:
        self.up.tick()
        self.down.tick()
        if self.working is not None:
            self.working -= 1

    @property
    def idle(self) -> bool:
        return self.at == len(self.events) and self.up.idle and not self.jobs


def whole(value: float) -> int:
    assert value == int(value)
    return int(value)


class Server:
    """One machine that takes what arrived first, of equals the first client's."""

    def __init__(self, flops_per_tick: float) -> None:
        self.flops_per_tick = flops_per_tick
        self.queue: list[tuple[int, int, int]] = []  # tick of arrival, client, duration
        self.serving: list[int] | None = None  # client, ticks left

    def settle(self, tick: int, parties: Sequence[Party]) -> bool:
        for position, party in enumerate(parties):
            while party.jobs and party.up.num_arrived >= party.jobs[0][0]:
                self.queue.append((tick, position, whole(party.jobs.popleft()[1] / self.flops_per_tick)))
        if self.serving is None and self.queue:
            self.queue.sort(key=lambda job: job[:2])
            self.serving = list(self.queue.pop(0)[1:])
        if self.serving is None or self.serving[1]:
            return False
        parties[self.serving[0]].num_served += 1
        self.serving = None
        return True

    def tick(self) -> None:
        if self.serving is not None:
            self.serving[1] -= 1

    @property
    def idle(self) -> bool:
        return self.serving is None and not self.queue


def round_ticks(timelines: Sequence[Timeline], server_flops_per_tick: float) -> int:
    parties, server, tick = [Party(timeline) for timeline in timelines], Server(server_flops_per_tick), 0
    while True:
        # The server looks up when all that can happen at this tick without it has happened.
        while any(party.settle() for party in parties) or server.settle(tick, parties):
            pass
        if server.idle and all(party.idle for party in parties):
            return tick
        for machine in (*parties, server):
            machine.tick()
        tick += 1
