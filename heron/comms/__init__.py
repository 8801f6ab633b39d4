"""Messages, their bytes, and the count of them. No transport lives here."""

from heron.comms.codec import decode, encode, encoded_sizes
from heron.comms.ledger import DIRECTIONS, Direction, Ledger
from heron.comms.link import Channel, Conversation, Link
from heron.comms.messages import (
    Answer,
    Broadcast,
    ClientReply,
    CutGradient,
    FromClient,
    LossAnswer,
    Message,
    ModelBroadcast,
    ProbeData,
    Reply,
    ScalarBroadcast,
    ScalarReply,
    SmashedData,
    SnapshotRequest,
    Upload,
)

__all__ = [
    "DIRECTIONS",
    "Answer",
    "Broadcast",
    "Channel",
    "ClientReply",
    "Conversation",
    "CutGradient",
    "Direction",
    "FromClient",
    "Ledger",
    "Link",
    "LossAnswer",
    "Message",
    "ModelBroadcast",
    "ProbeData",
    "Reply",
    "ScalarBroadcast",
    "ScalarReply",
    "SmashedData",
    "SnapshotRequest",
    "Upload",
    "decode",
    "encode",
    "encoded_sizes",
]
