"""Messages that a client could send instead of its reply."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from flwr.app import Error, Message

from heron.flower.records import Parcel, read_record, write_record
from heron.tensors import as_tensor
from heron.wire import decode, encode
from tests.flower.grid import Node

Edit = Callable[[Parcel], Any]


def stream_of(messages: list[Any]) -> bytes:
    framed = (encode(message) for message in messages)
    return b"".join(len(content).to_bytes(8, "little") + content for content in framed)


def messages_of(stream: bytes) -> list[Any]:
    messages = []
    while stream:
        length = int.from_bytes(stream[:8], "little")
        messages.append(with_tensors(decode(stream[8 : 8 + length])))
        stream = stream[8 + length :]
    return messages


def with_tensors(message: Any) -> Any:
    """The message with tensors, which are easier to spoil."""

    def converted(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: converted(entry) for name, entry in value.items()}
        return as_tensor(value) if isinstance(value, np.ndarray) else value

    return replace(message, **{field.name: converted(getattr(message, field.name)) for field in fields(message)})


def with_stream(parcel: Parcel, stream: bytes) -> Parcel:
    """A parcel that declares what it holds."""
    return replace(parcel, content=stream, num_bytes=len(stream))


def edited(change: Callable[[list[Any]], list[Any]]) -> Edit:
    """Other messages, well encoded and declared."""
    return lambda parcel: with_stream(parcel, stream_of(change(messages_of(parcel.content))))


def each(kind: type, **changes: Callable[[Any], Any]) -> Edit:
    """Fields of every message of a type changed."""

    def change(messages: list[Any]) -> list[Any]:
        return [
            replace(message, **{name: make(message) for name, make in changes.items()})
            if isinstance(message, kind)
            else message
            for message in messages
        ]

    return edited(change)


def tamper(node: Node, edit: Edit, *, times: int = 10**9) -> None:
    """Change a node's replies in a round a number of times; unchanged replies do not count."""
    left = times

    def changed(request: Message, reply: Message) -> Message | None:
        nonlocal left
        if request.metadata.message_type != "train.round" or left == 0:
            return reply
        parcel = read_record(reply.content, Parcel)
        found = edit(parcel)
        if repr(found) == repr(parcel):
            return reply
        left -= 1
        if found is None or isinstance(found, Message):
            return found
        if isinstance(found, Error):
            return Message(found, reply_to=request)
        return Message(found if hasattr(found, "config_records") else write_record(found), reply_to=request)

    node.tamper = changed
