"""Functions of tensors as ONNX graphs with free dimensions, such as that of the batch."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx

from heron.client.onnx_runtime.manifest import OPSET
from heron.errors import BundleError, HeronError, MissingExtraError

Function = Callable[..., tuple[Tensor, ...]]

_aten = torch.ops.aten
_DECOMPOSED = [
    _aten.nll_loss_forward,
    _aten.nll_loss_backward,
    _aten._log_softmax_backward_data,
    _aten.threshold_backward,
    _aten.tanh_backward,
    _aten.sigmoid_backward,
    _aten.gelu_backward,
    _aten.native_group_norm_backward,
    _aten.native_layer_norm_backward,
]
"""Backward passes that are taken apart into operations that torch's exporter knows. Left to the exporter, that of the
mean cross-entropy comes out as that of the sum."""
_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


class _Function(nn.Module):
    """A function in the form that torch exports."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self._function = function

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Call the function."""
        return self._function(*tensors)


def to_onnx(
    function: Function,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    free: Mapping[str, Sequence[int]],
    differentiates: bool,
) -> bytes:
    """Export a function.

    Args:
        function: of the inputs in order; returns the outputs in order.
        inputs: examples by name.
        outputs: names.
        free: dimensions of inputs that may have another size, by name; all others are fixed.
        differentiates: whether it calls autograd.

    Returns:
        The graph; nothing in it names a file or a line of code.

    Raises:
        BundleError: naming the operation that cannot be exported.
        MissingExtraError: if the exporter is not installed.
    """
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it

        from heron.export.translations import translations
    except ImportError as error:
        raise MissingExtraError("onnxscript", "export") from error
    tensors = tuple(inputs.values())
    assert len(set(map(id, tensors))) == len(tensors)  # the exporter would take equal ones for one input
    try:
        with _quiet():
            module: nn.Module = _Function(function)
            if differentiates:
                module = make_fx(function, _decompositions(), tracing_mode="symbolic")(*tensors)
            program = torch.onnx.export(
                module,
                tensors,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=_shapes(inputs, free, is_traced=differentiates),
                input_names=list(inputs),
                output_names=list(outputs),
                custom_translation_table=translations(),
                verbose=False,
            )
    except HeronError:
        raise
    except Exception as error:
        cause = _first_heron_error(error)
        if cause is not None:
            raise cause from error
        raise BundleError(f"the client cannot be exported: {_reason(error)}") from error
    assert program is not None  # without a file name it is returned
    return _without_places(program.model_proto)


def looks_up(content: bytes, table: str, places: str) -> bool:
    """Return whether a graph uses one input for nothing but to look up rows of another, and that for nothing else.

    Args:
        content: of the graph.
        table: input of one row per value.
        places: input of integers; its shape may be used, too.
    """
    import onnx

    for node in onnx.load_model_from_string(content).graph.node:
        is_lookup = node.op_type == "Gather" and [*node.input] == [table, places]
        is_size = node.op_type in {"Shape", "Size"} and [*node.input] == [places]
        if {table, places} & {*node.input} and not is_lookup and not is_size:
            return False
    return True


def _shapes(inputs: Mapping[str, Tensor], free: Mapping[str, Sequence[int]], *, is_traced: bool) -> Any:
    shapes = tuple(dict.fromkeys(free[name], Dim.DYNAMIC) if name in free else None for name in inputs)
    return shapes if is_traced else (shapes,)


def _decompositions() -> dict[Any, Callable[..., Any]]:
    return dict(get_decompositions(_DECOMPOSED))


def _without_places(model: Any) -> bytes:
    """Serialise a model without the stack traces that the exporter notes."""
    for graph in [model.graph, *(function for function in model.functions)]:
        for item in [*graph.node, *graph.value_info, *getattr(graph, "input", []), *getattr(graph, "output", [])]:
            for field in ("metadata_props", "doc_string"):
                if field in item.DESCRIPTOR.fields_by_name and hasattr(item, "ClearField"):
                    item.ClearField(field)
    model.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _first_heron_error(error: BaseException | None) -> HeronError | None:
    while error is not None:
        if isinstance(error, HeronError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _reason(error: BaseException) -> str:
    """The innermost message, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:200]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings and notes off the terminal."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
