"""Terms: everything that the parties of a run agree on before its first message, as one value that can be sent.

They are computed once, from the algorithm, the shapes of the network and the settings. Servers are built from them and
the server's part of the network, clients from them, a runtime and data. A device is sent its terms and nothing else.

`B` examples of a batch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from heron.data.order import has_single, num_local_steps
from heron.errors import MessageError
from heron.ranges import PositiveInt
from heron.wire.groups import Settings
from heron.wire.plain import from_plain, to_plain

VERSION = 1
"""Version of the terms, of the messages and of the direction stream that they are about."""
MAX_BYTES = 1 << 22
_MAX_DIMENSIONS = 8

Size = Annotated[int, Ge(0), Lt(2**40)]
Pairs = Literal["none", "uploads", "all"]
Role = Literal["replayed", "trained", "buffer", "unit_buffer", "constant", "downlink_only"]
"""The way of a tensor between client and Fed Server.

- `replayed`: learned from probes; the client sends scalars, from which the server replays it.
- `trained`: learned on the client and sent back as a tensor.
- `buffer`: statistics and counters, which travel and are averaged with what is trained.
- `unit_buffer`: a vector of length 1; the same, and its mean is made as long again.
- `constant`: a buffer that nobody changes; clients receive it as it is and do not send it back.
- `downlink_only`: changed by a server alone; clients receive it and do not send it back.
"""


@dataclass(frozen=True)
class TensorTerm:
    """One tensor that travels.

    Attributes:
        name: its name on both sides, e.g. `client.conv1.weight`.
        shape: its sizes.
        dtype: its element type, e.g. `float32`.
        role: its way.
    """

    name: str
    shape: tuple[Size, ...]
    dtype: str
    role: Role


@dataclass(frozen=True)
class UploadTerm:
    """The form of an upload of smashed data.

    Attributes:
        smashed: shape of the smashed data of one example.
        dtype: element type of the smashed data.
        labels: shape of one label; () for a class.
        labels_dtype: element type of the labels.
        num_classes: C; integer labels are in [0, C), or `IGNORED`. 0 where nobody checks uploads.
    """

    smashed: tuple[Size, ...]
    dtype: str
    labels: tuple[Size, ...]
    labels_dtype: str
    num_classes: Size


@dataclass(frozen=True)
class Terms:
    """The agreement of a run's parties.

    Attributes:
        algorithm: key of `heron.algorithms.ALGORITHMS`.
        settings: all groups of settings, the very objects of the configuration.
        tensors: every travelling tensor, in the order in which they are averaged; those with the role `replayed` in the
            order of the flat vector.
        upload: the form of an upload.
        upload_period: local steps from one upload to the next (k); the first step of a round always uploads. None for
            algorithms that upload nothing.
        pairs: which local steps need at least two examples, because a layer such as BatchNorm or the criterion does not
            work with one: none, those that upload smashed data (the server's part alone needs them), or all.
        data: name and settings of the data set, for a client that loads its own.
        network: name and settings of the network, for a client that builds its own part.
        version: version of the terms.
    """

    algorithm: str
    settings: Settings
    tensors: tuple[TensorTerm, ...]
    upload: UploadTerm
    upload_period: PositiveInt | None = 1
    pairs: Pairs = "none"
    data: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def names(self, *roles: Role) -> tuple[str, ...]:
        """Return the names of the tensors with one of these roles, in order."""
        return tuple(term.name for term in self.tensors if term.role in roles)

    def joins(self, num_examples: int) -> bool:
        """Return whether the last batch of a client's pass joins the one before: it has one example, which is too few.

        Args:
            num_examples: n of the client.
        """
        client = self.settings.client
        if self.pairs == "none" or not has_single(num_examples, client.batch_size):
            return False
        per_pass = num_local_steps(num_examples, client.batch_size, None)
        singles = range(per_pass - 1, client.local_steps or per_pass, per_pass)
        period = self.upload_period or 1
        return bool(singles) if self.pairs == "all" else any(step % period == 0 for step in singles)

    @property
    def replayed(self) -> tuple[str, ...]:
        """Names of the tensors that scalars stand for, in the order of the flat vector."""
        return self.names("replayed")

    @property
    def sent_back(self) -> tuple[str, ...]:
        """Names of the tensors that a reply contains: what is trained and not replayed, and buffers that change."""
        return self.names("trained", "buffer", "unit_buffer")

    @property
    def received_only(self) -> tuple[str, ...]:
        """Names of the tensors that a reply never contains."""
        return self.names("downlink_only", "constant")


def encode_terms(terms: Terms) -> bytes:
    """Write terms as JSON.

    Raises:
        MessageError: if they take more than 4 MiB.
    """
    content = json.dumps(to_plain(terms), separators=(",", ":"), allow_nan=False).encode()
    if len(content) > MAX_BYTES:
        raise MessageError(f"expected terms of at most {MAX_BYTES} bytes, found {len(content)}; use a smaller network")
    return content


def decode_terms(content: bytes) -> Terms:
    """Read terms that came over a wire.

    Args:
        content: what `encode_terms` returned, or a stranger's.

    Raises:
        MessageError: if they are too large, damaged, of another version, or not terms.
    """
    if len(content) > MAX_BYTES:
        raise MessageError(f"expected terms of at most {MAX_BYTES} bytes, found {len(content)}")
    try:
        values = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError("expected terms as JSON, found foreign or damaged bytes") from error
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION or type(version) is not int:
        raise MessageError(
            f"expected terms of version {VERSION}, found {str(version)[:40]}; both sides need the same version of heron"
        )
    data, network = (_section(values, name) for name in ("data", "network"))
    plain = {key: value for key, value in values.items() if key not in {"data", "network"}}
    read = from_plain(_Agreed, plain, "terms")
    agreed = {one.name: getattr(read, one.name) for one in fields(_Agreed)}
    terms = Terms(**agreed, data=data, network=network)
    _check_tensors(terms)
    return terms


@dataclass(frozen=True)
class _Agreed:
    """Terms without the sections that their owners read."""

    algorithm: str
    settings: Settings
    tensors: tuple[TensorTerm, ...]
    upload: UploadTerm
    upload_period: PositiveInt | None
    pairs: Pairs
    version: int


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name)
    if not isinstance(section, dict):
        raise MessageError(f"terms.{name}: expected a table, found {str(section)[:80]!r}")
    return section


def _check_tensors(terms: Terms) -> None:
    names = [term.name for term in terms.tensors]
    if len(set(names)) < len(names):
        raise MessageError("terms.tensors: expected every name once, found one twice")
    shapes = [*(term.shape for term in terms.tensors), terms.upload.smashed, terms.upload.labels]
    longest = max(map(len, shapes))
    if longest > _MAX_DIMENSIONS:
        raise MessageError(f"terms: expected shapes of at most {_MAX_DIMENSIONS} dimensions, found one of {longest}")


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
