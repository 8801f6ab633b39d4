"""Messages, their bytes, and the count of them. No transport lives here, and no torch.

Payloads are arrays of either kind, NumPy's or torch's (`heron.arrays`); decoding gives NumPy arrays.
"""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.wire.bundle import Bundle as Bundle
    from heron.wire.bundle import decode_bundle as decode_bundle
    from heron.wire.bundle import encode_bundle as encode_bundle
    from heron.wire.codec import decode as decode
    from heron.wire.codec import encode as encode
    from heron.wire.codec import encoded_sizes as encoded_sizes
    from heron.wire.ledger import DIRECTIONS as DIRECTIONS
    from heron.wire.ledger import Direction as Direction
    from heron.wire.ledger import Ledger as Ledger
    from heron.wire.link import Channel as Channel
    from heron.wire.link import Conversation as Conversation
    from heron.wire.link import Link as Link
    from heron.wire.link import Listener as Listener
    from heron.wire.messages import Answer as Answer
    from heron.wire.messages import Broadcast as Broadcast
    from heron.wire.messages import ClientReply as ClientReply
    from heron.wire.messages import CutGradient as CutGradient
    from heron.wire.messages import FromClient as FromClient
    from heron.wire.messages import LossAnswer as LossAnswer
    from heron.wire.messages import Message as Message
    from heron.wire.messages import ModelBroadcast as ModelBroadcast
    from heron.wire.messages import PackedData as PackedData
    from heron.wire.messages import ProbeData as ProbeData
    from heron.wire.messages import Reply as Reply
    from heron.wire.messages import ScalarBroadcast as ScalarBroadcast
    from heron.wire.messages import ScalarReply as ScalarReply
    from heron.wire.messages import SmashedData as SmashedData
    from heron.wire.messages import SnapshotRequest as SnapshotRequest
    from heron.wire.messages import Upload as Upload
    from heron.wire.payload import CODECS as CODECS
    from heron.wire.payload import MAX_ELEMENTS as MAX_ELEMENTS
    from heron.wire.payload import Codec as Codec
    from heron.wire.quantiser import pack_tensor as pack_tensor
    from heron.wire.quantiser import packed_bytes as packed_bytes
    from heron.wire.quantiser import unpack_tensor as unpack_tensor
    from heron.wire.smashed import pack_upload as pack_upload
    from heron.wire.smashed import smashed_bytes as smashed_bytes
    from heron.wire.smashed import unpack_upload as unpack_upload
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "Bundle": "heron.wire.bundle",
            "decode_bundle": "heron.wire.bundle",
            "encode_bundle": "heron.wire.bundle",
            "decode": "heron.wire.codec",
            "encode": "heron.wire.codec",
            "encoded_sizes": "heron.wire.codec",
            "DIRECTIONS": "heron.wire.ledger",
            "Direction": "heron.wire.ledger",
            "Ledger": "heron.wire.ledger",
            "Channel": "heron.wire.link",
            "Conversation": "heron.wire.link",
            "Link": "heron.wire.link",
            "Listener": "heron.wire.link",
            "Answer": "heron.wire.messages",
            "Broadcast": "heron.wire.messages",
            "ClientReply": "heron.wire.messages",
            "CutGradient": "heron.wire.messages",
            "FromClient": "heron.wire.messages",
            "LossAnswer": "heron.wire.messages",
            "Message": "heron.wire.messages",
            "ModelBroadcast": "heron.wire.messages",
            "PackedData": "heron.wire.messages",
            "ProbeData": "heron.wire.messages",
            "Reply": "heron.wire.messages",
            "ScalarBroadcast": "heron.wire.messages",
            "ScalarReply": "heron.wire.messages",
            "SmashedData": "heron.wire.messages",
            "SnapshotRequest": "heron.wire.messages",
            "Upload": "heron.wire.messages",
            "CODECS": "heron.wire.payload",
            "MAX_ELEMENTS": "heron.wire.payload",
            "Codec": "heron.wire.payload",
            "pack_tensor": "heron.wire.quantiser",
            "packed_bytes": "heron.wire.quantiser",
            "unpack_tensor": "heron.wire.quantiser",
            "pack_upload": "heron.wire.smashed",
            "smashed_bytes": "heron.wire.smashed",
            "unpack_upload": "heron.wire.smashed",
        },
    )
