"""Attention in an export: causal in blocks, at every length, and the other forms, against PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import heron.export.batch_norm  # noqa: F401 - registers an operation that the translations name
from heron.client.onnx_runtime.session import Graph
from heron.export.onnx import to_onnx


def graph_of(heads: int = 2, *, mask: Tensor | None = None, **form: Any) -> Graph:
    """A graph of one attention of four heads, of which keys have `heads`."""
    shapes = {"query": (2, 4, 6, 8), "key": (2, heads, 6, 8), "value": (2, heads, 6, 8)}
    inputs = {name: torch.randn(shape) for name, shape in shapes.items()}

    def function(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor]:
        return (scaled_dot_product_attention(query, key, value, mask, **form),)

    free = dict.fromkeys(inputs, (0,) if mask is not None else (0, 2))
    return Graph(to_onnx(function, inputs, ["outputs"], free=free, differentiates=False), "attention", 1)


def compared(graph: Graph, heads: int, size: int, length: int, **form: Any) -> None:
    generator = torch.Generator().manual_seed(length)
    query, key, value = (torch.randn((size, each, length, 8), generator=generator) for each in (4, heads, heads))
    expected = scaled_dot_product_attention(query, key, value, **form)
    feed = {"query": query.numpy(), "key": key.numpy(), "value": value.numpy()}
    (found,) = graph.run(feed, ["outputs"])
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("heads", "form"), [(4, {}), (2, {"enable_gqa": True}), (4, {"scale": 0.3})])
def test_causal_attention_at_every_length(heads: int, form: dict[str, Any]) -> None:
    """Also where blocks are empty or of different sizes."""
    graph = graph_of(heads, is_causal=True, **form)
    for length in (1, 2, 3, 4, 5, 7, 8, 33):
        compared(graph, heads, 3, length, is_causal=True, **form)


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_other_forms(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    numbers = torch.randn((6, 6), generator=draw)
    mask = {"none": None, "bool": (numbers > 0) | torch.eye(6, dtype=torch.bool), "float": numbers}[kind]
    compared(graph_of(4, mask=mask), 4, 3, 6, attn_mask=mask)
