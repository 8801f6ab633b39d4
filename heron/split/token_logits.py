"""Scores of every token of a vocabulary, not computed until they are needed, and their cross-entropy in chunks.

A language model's last layer makes V scores from D numbers, with V about 50,000. For 16 x 512 tokens that is 1.5 GiB,
many times the memory of all earlier layers. A head therefore returns the two factors of the scores, and the loss
computes the scores of a few tokens at a time. Its gradient is computed in the same sweep, so a first-order client
computes no chunk twice. In forward mode (`estimator.scheme=jvp`) every probe makes a second sweep, for the derivative
along its direction (docs/decisions/0018-token-logits.md).

`B` examples, `T` positions, `D` features, `V` tokens of the vocabulary, `N` counted positions, `C` of them in a chunk.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from heron.data import IGNORED
from heron.split.fakes import has_values

# Number of scores that exist at a time.
_CHUNK_BYTES = 2**24
# Number of rows of a 16-bit unembedding that are widened at a time.
_SLICE_ROWS = 2**11


class TokenLogits(NamedTuple):
    """Scores of the next token, represented by two factors whose product they are.

    Attributes:
        hidden_BTD: hidden state of every position, float32.
        unembedding_VD: one row per token, in any floating dtype; it is widened slice by slice.
    """

    hidden_BTD: Tensor
    unembedding_VD: Tensor

    def scores(self) -> Tensor:
        """The scores of all tokens, shape (B, T, V)."""
        return self.hidden_BTD @ self.unembedding_VD.to(self.hidden_BTD.dtype).T


def token_cross_entropy(outputs: TokenLogits, labels_BT: Tensor) -> Tensor:
    """Mean cross-entropy over the positions that count; 0 if none does.

    The scores of about 2**24 / (4 V) positions exist at a time. The loss can be differentiated any number of times; a
    backward pass with `create_graph=True` computes all scores at once.

    Args:
        outputs: outputs for B x T positions.
        labels_BT: the token that follows each position, int64 in [0, V), or `IGNORED`.

    Returns:
        Shape (), float64, because probes measure differences of such sums.
    """
    hidden_ND = outputs.hidden_BTD.reshape(-1, outputs.hidden_BTD.shape[-1])
    labels_N = labels_BT.reshape(-1)
    total: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_ND, outputs.unembedding_VD, labels_N, torch.is_grad_enabled()
    )
    return total / num_counted(labels_N).clamp(min=1)


def num_counted(labels: Tensor) -> Tensor:
    """Number of labels, of any shape, that are not `IGNORED`: shape (), int64."""
    return (labels != IGNORED).sum()


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies; the forward pass computes the gradients as well, if they are needed."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, builds_graph: bool) -> Tensor:
        # `needs_input_grad` is True for a trainable tensor even under `no_grad`.
        wants_hidden, wants_weight = (wants and builds_graph for wants in ctx.needs_input_grad[:2])
        total, *gradients = _sweep(hidden_ND, weight_VD, labels_N, wants_hidden, wants_weight)
        ctx.save_for_backward(hidden_ND, weight_VD, labels_N)
        ctx.save_for_forward(hidden_ND, weight_VD, labels_N)
        ctx.set_materialize_grads(False)  # a factor without a tangent is treated as a constant
        ctx.gradients = gradients
        return total

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        """Product <gradient, tangent> (forward mode), from a separate sweep."""
        of_factors = tangents[:2]
        _, *gradients = _sweep(*ctx.saved_tensors, *(tangent is not None for tangent in of_factors))
        products = [
            (gradient * tangent).sum(dtype=torch.float64)
            for gradient, tangent in zip(gradients, of_factors, strict=True)
            if gradient is not None and tangent is not None
        ]
        return torch.stack(products).sum()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad_total,) = grad_outputs
        if grad_total is None:
            return None, None, None, None
        hidden_ND, weight_VD, labels_N = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient itself is differentiated
            total = cross_entropy(hidden_ND @ weight_VD.to(hidden_ND.dtype).T, labels_N, reduction="sum")
            wanted = [
                tensor for tensor, wants in zip((hidden_ND, weight_VD), ctx.needs_input_grad, strict=False) if wants
            ]
            found = iter(torch.autograd.grad(total, wanted, grad_total.to(total.dtype), create_graph=True))
            hidden_grad, weight_grad = (next(found) if wants else None for wants in ctx.needs_input_grad[:2])
            return hidden_grad, weight_grad, None, None
        hidden_grad, weight_grad = (
            None if gradient is None else gradient * grad_total.to(gradient.dtype) for gradient in ctx.gradients
        )
        return hidden_grad, weight_grad, None, None


def _sweep(
    hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, wants_hidden: bool, wants_weight: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Sum of the cross-entropies, shape (), float64, and its gradients by hidden states and weights, if wanted."""
    hidden_grad = torch.zeros_like(hidden_ND) if wants_hidden else None
    weight_grad = torch.zeros_like(weight_VD) if wants_weight else None
    total = torch.zeros((), dtype=torch.float64, device=hidden_ND.device)
    for rows in _chunks(labels_N, len(weight_VD)):
        chunk_CD, labels_C = hidden_ND[rows], labels_N[rows]
        residual_CV, losses_C = _softmax_and_losses(chunk_CD, weight_VD, labels_C)
        total += losses_C.sum(dtype=torch.float64)
        if hidden_grad is not None or weight_grad is not None:
            residual_CV[torch.arange(len(labels_C), device=labels_C.device), labels_C] -= 1
        if hidden_grad is not None:
            hidden_grad[rows] = _times(residual_CV, weight_VD)
        if weight_grad is not None:
            weight_grad += (residual_CV.T @ chunk_CD).to(weight_grad.dtype)
        del residual_CV  # freed before the next chunk's is made
    return total, hidden_grad, weight_grad


def _chunks(labels_N: Tensor, num_tokens: int) -> Iterator[Tensor]:
    """Positions that count, in groups whose scores fit into a chunk; all positions if labels are fake."""
    size = max(1, _CHUNK_BYTES // (4 * num_tokens))
    if has_values(labels_N):
        counted = (labels_N != IGNORED).nonzero().squeeze(1)
    else:
        counted = torch.arange(len(labels_N), device=labels_N.device)
    return iter(torch.split(counted, size)) if len(counted) else iter(())


def _softmax_and_losses(chunk_CD: Tensor, weight_VD: Tensor, labels_C: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of a chunk, in the memory of its scores, and its cross-entropies."""
    scores_CV = _scores(chunk_CD, weight_VD)
    scores_CV -= scores_CV.amax(dim=1, keepdim=True)
    own_C = scores_CV.gather(1, labels_C[:, None]).squeeze(1)
    sums_C1 = scores_CV.exp_().sum(dim=1, keepdim=True)
    scores_CV /= sums_C1
    return scores_CV, sums_C1.squeeze(1).log() - own_C


def _scores(chunk_CD: Tensor, weight_VD: Tensor) -> Tensor:
    """`chunk @ weight.T`, shape (C, V)."""
    if weight_VD.dtype == chunk_CD.dtype:
        return chunk_CD @ weight_VD.T
    scores_CV = chunk_CD.new_empty(len(chunk_CD), len(weight_VD))
    for columns, rows_D in zip(_slices(scores_CV.T), _slices(weight_VD), strict=True):
        columns.copy_(rows_D.to(chunk_CD.dtype) @ chunk_CD.T)
    return scores_CV


def _times(residual_CV: Tensor, weight_VD: Tensor) -> Tensor:
    """`residual @ weight`, shape (C, D)."""
    if weight_VD.dtype == residual_CV.dtype:
        return residual_CV @ weight_VD
    product_CD = residual_CV.new_zeros(len(residual_CV), weight_VD.shape[1])
    for columns, rows_D in zip(_slices(residual_CV.T), _slices(weight_VD), strict=True):
        product_CD += columns.T @ rows_D.to(residual_CV.dtype)
    return product_CD


def _slices(matrix: Tensor) -> tuple[Tensor, ...]:
    """Slices of the weights, of few enough rows that a widened slice takes little memory."""
    return torch.split(matrix, _SLICE_ROWS)
