"""A client's network as exported graphs that onnxruntime computes: the runtime for devices without PyTorch."""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.client.onnx_runtime.bundle import Bundle as Bundle
    from heron.client.onnx_runtime.bundle import open_bundle as open_bundle
    from heron.client.onnx_runtime.manifest import Manifest as Manifest
    from heron.client.onnx_runtime.runtime import OnnxRuntime as OnnxRuntime
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "Bundle": "heron.client.onnx_runtime.bundle",
            "Manifest": "heron.client.onnx_runtime.manifest",
            "OnnxRuntime": "heron.client.onnx_runtime.runtime",
            "open_bundle": "heron.client.onnx_runtime.bundle",
        },
    )
