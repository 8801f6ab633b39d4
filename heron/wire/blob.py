"""Named arrays as one blob of safetensors, and back: nothing that is read can run code.

Format: https://github.com/huggingface/safetensors#format (length prefix, JSON header padded to eight bytes, arrays).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from heron.arrays import Array, dtype_name, is_tensor, numpy_dtype, to_host
from heron.errors import MessageError

DTYPES = {
    "int64": "I64",
    "float64": "F64",
    "float32": "F32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Element types that travel and their names in the header, in the order in which the format's writer stores them."""
_NAMES = {code: name for name, code in DTYPES.items()}


def save_arrays(arrays: Mapping[str, Array], metadata: dict[str, str] | None = None) -> bytes:
    """Write named arrays.

    Args:
        arrays: by name, NumPy arrays or tensors; of any device, they may be views or share memory.
        metadata: text entries of the header.

    Raises:
        MessageError: if the element type, layout or name of an array does not travel.
    """
    plain: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        check_dtype(name, dtype_name(array))
        if is_tensor(array) and (str(array.layout) != "torch.strided" or array.is_meta):
            raise MessageError(f"tensor {name!r}: expected a dense tensor with data, found {array.layout}; convert it")
        plain[name] = to_host(array)
    try:
        return save(plain, metadata)
    except UnicodeEncodeError as error:
        raise MessageError(f"expected tensor names in Unicode, found one that is not ({error.reason})") from error


def load_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote; the arrays can be written and do not depend on `data` afterwards.

    Raises:
        MessageError: if the bytes are damaged or foreign, or an element type does not travel.
    """
    try:
        return {name: _array(name, entry) for name, entry in deserialize(data)}  # type: ignore[no-untyped-call]
    # The reader does not say what it raises; these bytes are a stranger's, so all that bad input can cause is listed.
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise MessageError(f"expected encoded arrays, found damaged bytes ({excerpt(error)})") from error


def check_dtype(name: str, found: str) -> None:
    """Refuse an array that cannot travel.

    Args:
        name: name of the array.
        found: name of its element type, as of `heron.arrays.dtype_name`.

    Raises:
        MessageError: if that is not one of `DTYPES`.
    """
    if found not in DTYPES:
        raise MessageError(
            f"tensor {excerpt(name)!r}: expected one of {', '.join(DTYPES.values())}, found {found}; convert it"
        )


def excerpt(found: object) -> str:
    """The start of what was found, on one line: its sender chose it, and it may be long."""
    return " ".join(str(found).split())[:80]


def _array(name: str, entry: Mapping[str, Any]) -> NDArray[Any]:
    code = entry["dtype"]
    check_dtype(name, _NAMES.get(code, code))
    array = np.frombuffer(entry["data"], numpy_dtype(_NAMES[code])).reshape(entry["shape"])
    # A boolean of any byte but 0 and 1 is undefined behaviour in code that reads it.
    if code == "BOOL" and array.size and int(array.view(np.uint8).max()) > 1:
        raise MessageError(f"tensor {excerpt(name)!r}: expected booleans of byte 0 or 1, found another byte")
    return array
