"""Token recovery: texts read from the vectors of a language model at the cut.

The attacker knows the pre-trained model, as everybody does, and so its table of embeddings. From texts of its own it
learns a linear map from a vector at the cut to the embedding of the token at that place, and takes the nearest token.

`n` tokens, `D` values of a vector at the cut, `E` of an embedding, `V` tokens of the vocabulary.
"""

import torch
from torch import Tensor, nn

from heron.audit.outcome import Outcome
from heron.audit.view import View

_MOST = 20_000
_RIDGE = 1e-3
_CHUNK = 1_024


def recover_tokens(view: View) -> Outcome:
    """Read the victims' tokens from their smashed data.

    Args:
        view: of the attacker.

    Returns:
        `token_accuracy`, the share read correctly, and `token_guess`, that of the attacker's most frequent token.
    """
    if not view.are_tokens:
        return Outcome()
    known, victims = view.known, view.victims
    table = embeddings(view.split.client, int(max(known.inputs.max(), victims.inputs.max())) + 1)
    if table is None or known.smashed is None or victims.smashed is None:
        return Outcome()
    own, theirs = (is_text(seen.inputs).flatten() for seen in (known, victims))
    vectors, tokens = known.smashed.flatten(0, 1)[own], known.inputs.flatten()[own]
    others, truth = victims.smashed.flatten(0, 1)[theirs], victims.inputs.flatten()[theirs]
    found = nearest_tokens(vectors[:_MOST], tokens[:_MOST], others[:_MOST], table)
    truth = truth[:_MOST]
    guess = tokens.mode().values
    figures = {
        "token_accuracy": float((found == truth).float().mean()),
        "token_guess": float((truth == guess).float().mean()),
    }
    return Outcome(figures)


def nearest_tokens(vectors: Tensor, tokens: Tensor, others: Tensor, table: Tensor) -> Tensor:
    """Map vectors to embeddings by ridge regression and take the token with the largest cosine.

    Args:
        vectors: of the attacker's texts, shape (n, D).
        tokens: theirs, shape (n,).
        others: vectors to read, shape (m, D).
        table: embeddings, shape (V, E).

    Returns:
        Tokens, shape (m,).
    """
    table = nn.functional.normalize(table.detach().float() - table.detach().float().mean(0), dim=1)
    mean, spread = vectors.mean(0), vectors.std(0).clamp_min(1e-6)
    scaled = ((vectors - mean) / spread).double()
    targets = table[tokens].double()
    centre = targets.mean(0)
    gram = scaled.T @ scaled + _RIDGE * len(scaled) * torch.eye(scaled.shape[1], dtype=torch.float64).to(scaled)
    weight = torch.linalg.solve(gram, scaled.T @ (targets - centre)).float()
    found = []
    for piece in torch.split(others, _CHUNK):
        rebuilt = ((piece - mean) / spread) @ weight + centre.float()
        found.append((rebuilt @ table.T).argmax(1))
    return torch.cat(found)


def embeddings(client: nn.Module, num_tokens: int) -> Tensor | None:
    """Find the table of embeddings of a client's part: the largest that has a row for each token; None without one.

    Args:
        client: the client's part.
        num_tokens: rows that are needed.
    """
    tables = [module.weight for module in client.modules() if isinstance(module, nn.Embedding)]
    fitting = [table for table in tables if table is not None and len(table) >= num_tokens]
    return max(fitting, key=len) if fitting else None


def is_text(tokens: Tensor) -> Tensor:
    """Return which positions hold text: all but the last token of a row and its repetitions before it, the padding.

    Args:
        tokens: shape (B, T).
    """
    from_end = tokens.flip(1)
    return (from_end == from_end[:, :1]).long().cumprod(1).flip(1) == 0
