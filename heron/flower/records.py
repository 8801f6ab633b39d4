"""Records that the apps exchange, and their form in Flower's records: plain fields and one array of bytes.

The bytes are an array of Flower's, which travels in chunks. They contain messages in heron's own codec and are never
unpickled. Everything read here may come from a stranger: types are checked here, sizes by the reader.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from heron.errors import MessageError
from heron.wire.terms import MAX_BYTES

if TYPE_CHECKING:
    from flwr.app import RecordDict

CONTENT = "content"
_MAX_TEXT = 65_536
_MAX_TEXTS = {"terms": MAX_BYTES}
"""Fields with a limit of their own, in characters."""


@dataclass(frozen=True)
class RoundRequest:
    """Server to client: a round begins or, in a coupled round, continues with an answer.

    Attributes:
        terms: the run's terms as JSON (`heron.wire.terms`).
        round_index: t, from 0.
        client_id: receiver, from 0.
        step: 0 with the broadcast that opens the round, n with the n-th answer.
        state_round: round of the kept state that the client begins with; -1 for none.
        max_reply_bytes: largest piece of the reply.
        run: name of the run, for clients with a secret.
        secret: digest of the secret that this client was last seen with in this run; empty before.
        charged: number of private releases that the servers' account has charged to the client, with this round's.
        least_examples: number of examples that the account takes the client to have; 0 where there is none.
        repeats: whether the servers take the client to repeat a release that it is asked for again, and so charge it
            once: its secret is in a file.
        fixes_rounds: whether the noise was found for the number of rounds, which then stays as it is.
        content: the encoded broadcast or answer.
    """

    terms: str
    round_index: int
    client_id: int
    step: int
    state_round: int
    max_reply_bytes: int
    run: str
    secret: str
    charged: int
    least_examples: int
    repeats: bool
    fixes_rounds: bool
    content: bytes


@dataclass(frozen=True)
class PartRequest:
    """Server to client: send a further piece of a reply.

    Attributes:
        round_index: t, from 0.
        client_id: receiver, from 0.
        step: step of the request that is being replied to.
        part: number of the piece, from 1.
    """

    round_index: int
    client_id: int
    step: int
    part: int


@dataclass(frozen=True)
class MaskQuestion:
    """Server to client: a question about masks, before a round or after its replies; a parcel is the answer.

    Attributes:
        step: of the answer: no step of a round.
        round_index: t, from 0.
        client_id: receiver, from 0.
        max_reply_bytes: largest piece of the answer.
        run: name of the run, as of `RoundRequest`.
        bundle: whether question and answer are bundles of one message.
        content: the encoded question.
    """

    step: ClassVar[int] = -1
    round_index: int
    client_id: int
    max_reply_bytes: int
    run: str
    bundle: bool
    content: bytes


@dataclass(frozen=True)
class Parcel:
    """Client to server: a piece of a reply, which is a stream of encoded messages.

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
        step: step of the request.
        part: number of this piece, from 0.
        num_parts: number of pieces.
        num_bytes: length of the whole stream.
        finished: whether the client's round is over.
        keeps_state: whether the client then keeps state of this round.
        lost_state: whether the client lacks the state that it should have begun with.
        num_examples: examples trained on in the round, once it is over.
        secret: digest of the client's secret for this run; empty where it needs none.
        content: the piece.
    """

    round_index: int
    client_id: int
    step: int
    part: int
    num_parts: int
    num_bytes: int
    finished: bool
    keeps_state: bool
    lost_state: bool
    num_examples: int
    secret: str
    content: bytes


@dataclass(frozen=True)
class Refusal:
    """Client to server: the request cannot be fulfilled.

    Attributes:
        fault: `lost` if the client has lost state that it needs to continue, and the server lets it begin its round
            again; `lost_state` if it has lost the optimiser state that it had kept, without which this is a further
            private release, and the server charges it and lets it begin without; `withheld` if its own notes of what
            it has released do not allow it; else `declined`.
        reason: one line.
    """

    fault: str
    reason: str


@dataclass(frozen=True)
class Identity:
    """Client to server: the client that the node serves.

    Attributes:
        client_id: number of the client, from 0.
        keeps_secret: whether its secret and its notes are in files, and outlive a restart.
    """

    client_id: int
    keeps_secret: bool


Record = TypeVar("Record", RoundRequest, PartRequest, MaskQuestion, Parcel, Refusal, Identity)
"""One of the classes above."""


def write_record(record: Any) -> "RecordDict":
    """Convert a record of heron into one of Flower's."""
    from flwr.app import ArrayRecord, ConfigRecord, RecordDict

    values = {field.name: getattr(record, field.name) for field in fields(record)}
    content = values.pop(CONTENT, None)
    records = RecordDict({type(record).__name__: ConfigRecord(values)})
    if content is not None:
        records[CONTENT] = ArrayRecord({CONTENT: byte_array(content)})
    return records


def byte_array(content: bytes) -> Any:
    """Bytes as an array of Flower's."""
    from flwr.app import Array

    return Array(dtype="uint8", shape=(len(content),), stype="bytes", data=content)


def is_record(records: "RecordDict", kind: type[Any]) -> bool:
    """Return whether these are the fields of a record class."""
    return kind.__name__ in records.config_records


def read_record(records: "RecordDict", kind: type[Record]) -> Record:
    """Read a record: the inverse of `write_record`.

    Args:
        records: the received record.
        kind: the expected class.

    Raises:
        MessageError: if it is of another class, or a field is absent or of another type.
    """
    if not is_record(records, kind):
        raise MessageError(f"expected a {kind.__name__}, found another record")
    values: dict[str, Any] = dict(records.config_records[kind.__name__])
    if any(field.name == CONTENT for field in fields(kind)):
        arrays = records.array_records.get(CONTENT)
        if arrays is None or CONTENT not in arrays:
            raise MessageError(f"{kind.__name__}: expected content, found none")
        values[CONTENT] = arrays[CONTENT].data
    expected = {field.name: field.type for field in fields(kind)}
    if values.keys() != expected.keys():
        raise MessageError(f"{kind.__name__}: expected the fields {', '.join(expected)}, found others")
    for name, value in values.items():
        if type(value) is not expected[name]:
            raise MessageError(f"{kind.__name__}: expected another type of {name}, found {type(value).__name__}")
        limit = _MAX_TEXTS.get(name, _MAX_TEXT)
        if isinstance(value, str) and len(value) > limit:
            raise MessageError(f"{kind.__name__}: expected {name} of at most {limit} characters")
    return kind(**values)
