"""Flower without Flower: a grid whose nodes run the client app in this process when their message is pulled."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

Tamper = Callable[[Message, Message], Message | None]


@dataclass
class Clock:
    """Time that passes when someone sleeps."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Node:
    app: ClientApp
    context: Context
    # Request and honest reply in, what arrives out; None for nothing.
    tamper: Tamper = lambda _, reply: reply
    delay_s: float = 0.0

    def forget(self) -> None:
        """Restart the node: its state is lost."""
        self.context.state = RecordDict()


@dataclass
class FakeGrid(Grid):
    """Nodes by id.

    Attributes:
        handled: (node id, message type) of everything that nodes have worked on.
    """

    nodes: dict[int, Node]
    clock: Clock = field(default_factory=Clock)
    handled: list[tuple[int, str]] = field(default_factory=list)
    pulled: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[str, tuple[float, Message]] = {}

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any: ...

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        identifiers = []
        for message in messages:
            identifier = str(next(self._numbers))
            message.metadata.__dict__["_message_id"] = identifier
            delay = (
                self.nodes[message.metadata.dst_node_id].delay_s if message.metadata.dst_node_id in self.nodes else 0
            )
            self._waiting[identifier] = (self.clock() + delay, message)
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = []
        for identifier in message_ids:
            ready, message = self._waiting.get(identifier, (float("inf"), None))
            if message is None or ready > self.clock() or message.metadata.dst_node_id not in self.nodes:
                continue
            del self._waiting[identifier]
            reply = self._handle(message)
            if reply is not None:
                replies.append(reply)
        return replies

    def _handle(self, message: Message) -> Message | None:
        node = self.nodes[message.metadata.dst_node_id]
        self.handled.append((message.metadata.dst_node_id, message.metadata.message_type))
        try:
            reply = node.app(message, node.context)
        except Exception as error:  # noqa: BLE001 - as Flower does
            reply = Message(Error(2, f"Traceback with secrets: {error}"), reply_to=message)
        return node.tamper(message, reply)


@pytest.fixture(autouse=True)
def task_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages can only be made where Flower runs a task."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
