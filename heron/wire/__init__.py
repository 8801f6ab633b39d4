"""Messages, their bytes, and the count of them. No transport lives here."""

from heron.wire.bundle import Bundle, decode_bundle, encode_bundle
from heron.wire.codec import decode, encode, encoded_sizes
from heron.wire.ledger import DIRECTIONS, Direction, Ledger
from heron.wire.link import Channel, Conversation, Link, Listener
from heron.wire.messages import (
    Answer,
    Broadcast,
    ClientReply,
    CutGradient,
    FromClient,
    LossAnswer,
    Message,
    ModelBroadcast,
    PackedData,
    ProbeData,
    Reply,
    ScalarBroadcast,
    ScalarReply,
    SmashedData,
    SnapshotRequest,
    Upload,
)
from heron.wire.payload import CODECS, MAX_ELEMENTS, Codec
from heron.wire.quantiser import pack_tensor, packed_bytes, unpack_tensor
from heron.wire.smashed import pack_upload, smashed_bytes, unpack_upload

__all__ = [
    "CODECS",
    "DIRECTIONS",
    "MAX_ELEMENTS",
    "Answer",
    "Broadcast",
    "Bundle",
    "Channel",
    "ClientReply",
    "Codec",
    "Conversation",
    "CutGradient",
    "Direction",
    "FromClient",
    "Ledger",
    "Link",
    "Listener",
    "LossAnswer",
    "Message",
    "ModelBroadcast",
    "PackedData",
    "ProbeData",
    "Reply",
    "ScalarBroadcast",
    "ScalarReply",
    "SmashedData",
    "SnapshotRequest",
    "Upload",
    "decode",
    "decode_bundle",
    "encode",
    "encode_bundle",
    "encoded_sizes",
    "pack_tensor",
    "pack_upload",
    "packed_bytes",
    "smashed_bytes",
    "unpack_tensor",
    "unpack_upload",
]
