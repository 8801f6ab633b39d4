"""Messages, their bytes, and the count of them. No transport lives here."""

from heron.comms.codec import decode, encode, encoded_sizes
from heron.comms.ledger import DIRECTIONS, Direction, Ledger
from heron.comms.link import Channel, Conversation, Link
from heron.comms.messages import ClientReply, CutGradient, Message, ModelBroadcast, SmashedData

__all__ = [
    "DIRECTIONS",
    "Channel",
    "ClientReply",
    "Conversation",
    "CutGradient",
    "Direction",
    "Ledger",
    "Link",
    "Message",
    "ModelBroadcast",
    "SmashedData",
    "decode",
    "encode",
    "encoded_sizes",
]
