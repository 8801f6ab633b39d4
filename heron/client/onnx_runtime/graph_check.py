"""A look at the bytes of an ONNX graph before onnxruntime reads them: standard operators, and nothing outside.

A graph may name files that hold its arrays, anywhere on the disk, and operators of any library. The bytes are a
protocol buffer (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); they are walked here without its library.
"""

from collections.abc import Iterator

from heron.errors import BundleError

MAX_BYTES = 1 << 28
"""Largest graph that is read: graphs of a bundle hold no weights."""
_MAX_DEPTH = 32
_DOMAINS = {b"", b"ai.onnx"}
# By message: number of a field and the message that it holds.
_CHILDREN = {
    "model": {7: "graph", 8: "opset", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_graph(content: bytes, name: str, opset: int) -> None:
    """Refuse a graph that onnxruntime should not see.

    Args:
        content: the graph's bytes.
        name: its file, for messages.
        opset: the version of the standard operators that it may use.

    Raises:
        BundleError: if it is damaged or too large, stores arrays in other files, defines operators of its own, or uses
            operators that are not ONNX's, or another version of them.
    """
    if len(content) > MAX_BYTES:
        raise BundleError(f"{name}: expected a graph of at most {MAX_BYTES} bytes, found {len(content)}")
    try:
        _walk(memoryview(content), "model", name, opset, 0)
    except (IndexError, ValueError) as error:
        raise BundleError(f"{name}: expected an ONNX graph, found damaged bytes; export the bundle again") from error


def _walk(message: memoryview, kind: str, name: str, opset: int, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise BundleError(f"{name}: expected at most {_MAX_DEPTH} nested graphs, found more; export the bundle again")
    values: dict[int, int | memoryview] = {}
    for number, value in _fields(message):
        child = _CHILDREN.get(kind, {}).get(number)
        if child is None:
            values[number] = value
        elif not isinstance(value, memoryview):
            raise ValueError(number)
        else:
            _walk(value, child, name, opset, depth + 1)
    if kind == "tensor" and (13 in values or values.get(14, 0) != 0):
        raise BundleError(f"{name}: expected all arrays inside the graph, found one in another file; export it again")
    if kind == "function":
        raise BundleError(f"{name}: expected operators of ONNX, found one that the graph defines; export it again")
    if kind == "node" and bytes(_bytes(values.get(7))) not in _DOMAINS:
        operator = bytes(_bytes(values.get(4)))[:40].decode(errors="replace")
        raise BundleError(f"{name}: expected operators of ONNX, found {operator!r} of another library")
    if kind == "opset" and bytes(_bytes(values.get(1))) in _DOMAINS and values.get(2) != opset:
        raise BundleError(f"{name}: expected operators of version {opset}, found {values.get(2)}; export it again")


def _bytes(value: int | memoryview | None) -> memoryview:
    """The bytes of a text, which is empty where it is absent."""
    if value is None:
        return memoryview(b"")
    if not isinstance(value, memoryview):
        raise ValueError(value)  # noqa: TRY004 - damaged bytes, not a caller's mistake
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field: an integer, or the bytes of a text or a message."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(kind)
        if place + size > len(message):
            raise IndexError(place)
        yield number, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError(shift)
