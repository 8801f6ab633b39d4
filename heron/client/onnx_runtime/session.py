"""Sessions of onnxruntime with the options that keep a client small."""

from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import dtype_name
from heron.errors import BundleError, MissingExtraError

_BFLOAT16 = 16
"""ONNX's number of the element type."""


class Graph:
    """One graph, ready to run.

    Args:
        content: bytes of the graph; checked by `heron.client.onnx_runtime.graph_check`.
        name: its file, for messages.
        threads: CPU threads, >= 1.
        optimise: whether nodes may be joined, which puts them behind all others: a graph that widens many narrow
            matrices would then begin with all of them.

    Attributes:
        inputs: names of its inputs.
        outputs: names of its outputs.

    Raises:
        BundleError: if onnxruntime refuses the graph.
        MissingExtraError: if onnxruntime is not installed.
    """

    def __init__(self, content: bytes, name: str, threads: int, *, optimise: bool = True) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "lean") from error
        options = onnxruntime.SessionOptions()
        # Measured: memory patterns keep room for every shape that was ever run.
        options.enable_mem_pattern = False
        # The other order computes what hangs on a large array's size at the end, and keeps the array until then.
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        # The level above the second changes layouts, for another copy of activations.
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_EXTENDED if optimise else level.ORT_DISABLE_ALL
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleError(
                f"{name}: onnxruntime refuses the graph ({_reason(error)}); export the bundle again"
            ) from error
        self._name = name
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self.outputs = tuple(each.name for each in self._session.get_outputs())

    def run(self, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Compute outputs by name; inputs that the graph does not have are left out."""
        try:
            values = {name: _value(feed[name]) for name in self.inputs}
            found: list[NDArray[Any]] = self._session.run(outputs, values)
        except Exception as error:
            raise BundleError(f"{self._name}: onnxruntime cannot run the graph ({_reason(error)})") from error
        return found

    def check(self, inputs: Container[str], outputs: Iterable[str]) -> None:
        """Refuse a graph that needs or lacks something.

        Args:
            inputs: names of what it can be given.
            outputs: names of what it must compute.

        Raises:
            BundleError: naming the first.
        """
        odd = [name for name in self.inputs if name not in inputs] or [
            name for name in outputs if name not in self.outputs
        ]
        if odd:
            raise BundleError(f"{self._name}: expected a graph of this client, found another at {odd[0][:80]!r}")


@cache
def _share_arena() -> None:
    """Give all sessions of this process one arena that grows by what is asked for, not to the next power of two."""
    from onnxruntime import OrtAllocatorType, OrtArenaCfg, OrtMemoryInfo, OrtMemType, create_and_register_allocator

    growth = OrtArenaCfg({"arena_extend_strategy": 1})
    with suppress(RuntimeError):  # somebody else in this process has chosen already
        create_and_register_allocator(
            OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT), growth
        )


def _value(array: NDArray[Any]) -> Any:
    """Return an array in the form that onnxruntime takes, in its own memory; NumPy itself knows no bfloat16."""
    if dtype_name(array) != "bfloat16":
        return array
    from onnxruntime import OrtValue

    return OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _BFLOAT16)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
