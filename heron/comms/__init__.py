"""Messages, their bytes, and the count of them. No transport lives here."""

from heron.comms.codec import decode, encode, encoded_sizes
from heron.comms.ledger import DIRECTIONS, Direction, Ledger
from heron.comms.link import Channel, Conversation, Link
from heron.comms.messages import (
    Answer,
    ClientReply,
    CutGradient,
    LossAnswer,
    Message,
    ModelBroadcast,
    ProbeData,
    Reply,
    ScalarReply,
    SmashedData,
    Upload,
)

__all__ = [
    "DIRECTIONS",
    "Answer",
    "Channel",
    "ClientReply",
    "Conversation",
    "CutGradient",
    "Direction",
    "Ledger",
    "Link",
    "LossAnswer",
    "Message",
    "ModelBroadcast",
    "ProbeData",
    "Reply",
    "ScalarReply",
    "SmashedData",
    "Upload",
    "decode",
    "encode",
    "encoded_sizes",
]
