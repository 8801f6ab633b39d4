"""Attention as ONNX, in blocks of rows where it is causal.

onnxruntime's own operators of attention compute all products of positions, also those above the diagonal that a causal
mask then removes. Here rows are computed in blocks, each with the keys that it can see: five eighths of the products,
and smaller arrays between them.

`B` examples, `H` heads, `T` positions, `D` features of a head.
"""

from typing import Any

from onnxscript import opset20 as op

_NUM_BLOCKS = 4
_HIDDEN = -3.4e38
"""Addend to the score of a key that a row must not attend to."""


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,  # noqa: ARG001 - clients that draw have been refused
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Translate `torch.nn.functional.scaled_dot_product_attention`; shapes (B, H, T, D)."""
    rank = len(query.shape)
    if enable_gqa:
        key, value = (_repeated(each, int(query.shape[1])) for each in (key, value))
    factor = float(int(query.shape[-1]) ** -0.5 if scale is None else scale)
    query = op.Mul(query, op.Constant(value_float=factor))
    key = op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2])
    if is_causal:
        return _causal(query, key, value, rank)
    scores = op.MatMul(query, key)
    if attn_mask is not None:
        is_float = str(attn_mask.dtype).lower().startswith("float")
        hidden = op.Constant(value_float=_HIDDEN)
        zero = op.Constant(value_float=0.0)
        scores = op.Add(scores, attn_mask if is_float else op.Where(attn_mask, zero, hidden))
    return op.MatMul(op.Softmax(scores, axis=-1), value)


def _causal(query: Any, key: Any, value: Any, rank: int) -> Any:
    """Attention of each block of rows with the positions up to its end."""
    zero, one, count = (op.Constant(value_ints=[number]) for number in (0, 1, _NUM_BLOCKS))
    rows, columns = (op.Constant(value_ints=[rank - 2]), op.Constant(value_ints=[rank - 1]))
    length = op.Shape(query, start=rank - 2, end=rank - 1)
    hidden = op.Constant(value_float=_HIDDEN)
    blocks, start = [], zero
    for block in range(1, _NUM_BLOCKS + 1):
        end = op.Div(op.Mul(length, op.Constant(value_ints=[block])), count)
        scores = op.MatMul(op.Slice(query, start, end, rows), op.Slice(key, zero, end, columns))
        above = op.Expand(hidden, op.Concat(op.Sub(end, start), end, axis=0))
        mask = op.Trilu(above, op.Squeeze(op.Add(start, one), zero), upper=1)
        shares = op.Softmax(op.Add(scores, mask), axis=-1)
        blocks.append(op.MatMul(shares, op.Slice(value, zero, end, rows)))
        start = end
    return op.Concat(*blocks, axis=rank - 2)


def _repeated(heads: Any, num_heads: int) -> Any:
    """Repeat each head, for queries of more heads than there are keys."""
    own, features = int(heads.shape[1]), int(heads.shape[3])
    axis = op.Constant(value_ints=[2])
    spread = op.Expand(op.Unsqueeze(heads, axis), op.Constant(value_ints=[1, 1, num_heads // own, 1, 1]))
    return op.Reshape(spread, op.Constant(value_ints=[0, num_heads, -1, features]))
