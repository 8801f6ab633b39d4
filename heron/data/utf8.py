"""Text of a file of examples."""

from pathlib import Path

from heron.errors import DataError


def decoded(content: bytes, path: Path) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Args:
        content: of the file.
        path: of the file, for errors.

    Raises:
        DataError: if it is something else, naming the byte and its line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: expected UTF-8, found byte 0x{error.object[error.start]:02x} in line {line}; save it as UTF-8"
        ) from error
