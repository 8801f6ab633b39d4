"""heron's client app, except that a node started with `hostile=1` sends wrong replies of a different kind per round."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from heron.apps.client import app as honest
from heron.flower.records import Parcel, read_record, write_record
from heron.wire import Reply, SmashedData, decode, encode

_LENGTH_BYTES = 8


def rewritten(parcel: Parcel, kind: Any, change: Callable[[Any], Any]) -> Parcel:
    """The stream with every message of a type changed, well encoded and declared."""
    content, stream = parcel.content, b""
    while content:
        end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
        message = decode(content[_LENGTH_BYTES:end])
        encoded = encode(change(message) if isinstance(message, kind) else message)
        stream += len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded
        content = content[end:]
    return replace(parcel, content=stream, num_bytes=len(stream))


def not_a_number(parcel: Parcel) -> Parcel:
    """A model of NaN."""
    return rewritten(
        parcel,
        Reply,
        lambda reply: replace(reply, model={name: tensor * float("nan") for name, tensor in reply.model.items()}),
    )


def enormous(parcel: Parcel) -> Parcel:
    """A model of values that are finite, and whose sum is not."""
    return rewritten(
        parcel,
        Reply,
        lambda reply: replace(reply, model={name: np.full_like(each, 3e38) for name, each in reply.model.items()}),
    )


def too_much(parcel: Parcel) -> Parcel:
    """A hundred times the bytes that are declared."""
    return replace(parcel, content=parcel.content * 100)


def wrong_type(parcel: Parcel) -> Parcel:
    """Smashed data in float64."""
    return rewritten(parcel, SmashedData, lambda upload: replace(upload, smashed=upload.smashed.astype(np.float64)))


def another_round(parcel: Parcel) -> Parcel:
    """The reply to another request."""
    return replace(parcel, round_index=parcel.round_index - 1)


def garbage(parcel: Parcel) -> Parcel:
    """No stream of messages at all."""
    return replace(parcel, content=b"\x80\x04\x95" * 1000, num_bytes=3000)


REPLIES: list[tuple[Callable[[Parcel], Parcel], str]] = [
    (not_a_number, "not_finite"),
    (enormous, "not_finite"),
    (too_much, "malformed"),
    (wrong_type, "malformed"),
    (another_round, "stale"),
    (garbage, "undecodable"),
]
"""What is sent in each round, and the fault as which it is to be counted."""

app = ClientApp()


@app.query("identity")
def identity(message: Message, context: Context) -> Message:
    """The honest client's identity, unchanged."""
    return honest(message, context)


@app.train("part")
def part(message: Message, context: Context) -> Message:
    """A part of a reply, unchanged."""
    return honest(message, context)


@app.train("round")
def round_(message: Message, context: Context) -> Message:
    """A round, unchanged or with wrong messages."""
    reply = honest(message, context)
    if not context.node_config.get("hostile"):
        return reply
    parcel = read_record(reply.content, Parcel)
    change, _ = REPLIES[parcel.round_index % len(REPLIES)]
    return Message(write_record(change(parcel)), reply_to=message)
