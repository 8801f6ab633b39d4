"""Sessions: how much memory a graph takes."""

import re
from pathlib import Path

import numpy as np
import pytest

from heron.client.onnx_runtime.session import Graph

SIDE = 2048
"""Of a square matrix, 16 MiB."""
MATRIX_MIB = 4 * SIDE**2 / 2**20


def resident_mib() -> float:
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1]) / 1024


def chain(length: int) -> bytes:
    """x, x + x, ...: matrices that follow from one another; and their sizes, which nothing needs before the end."""
    onnx = pytest.importorskip("onnx", reason="graphs are made with onnx")
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [helper.make_node("Add", [f"x{step}", f"x{step}"], [f"x{step + 1}"]) for step in range(length)]
    nodes.append(helper.make_node("ReduceMax", [f"x{length}"], ["top"], keepdims=0))
    nodes.extend(helper.make_node("Size", [f"x{step}"], [f"size{step}"]) for step in range(1, length))
    nodes.append(helper.make_node("Max", [f"size{step}" for step in range(1, length)], ["sizes"]))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x0", kind.FLOAT, ["N", SIDE])],
        [helper.make_tensor_value_info("top", kind.FLOAT, []), helper.make_tensor_value_info("sizes", kind.INT64, [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the resident memory of this process")
def test_an_activation_is_freed_after_its_last_use_and_all_sessions_use_one_arena() -> None:
    first, second = (Graph(chain(8), "clean.onnx", threads=1) for _ in range(2))
    inputs = np.ones((SIDE, SIDE), np.float32)
    for graph in (first, second):  # what a first run needs once
        graph.run({"x0": inputs[:1]}, ["top"])
    before = resident_mib()
    for graph in (first, second):
        top, sizes = graph.run({"x0": inputs}, ["top", "sizes"])
        assert (float(top), int(sizes)) == (2.0**8, SIDE**2)
        assert resident_mib() - before < 2.5 * MATRIX_MIB
