"""Label probe: a linear classifier from smashed data to labels, trained on data of the attacker's own.

Labels go up in clear wherever the Main Server trains; the probe says what would be left if they did not.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from heron.audit.outcome import Outcome
from heron.audit.view import View

_DECAY = 1e-3
_ITERATIONS = 200


def probe_labels(view: View) -> Outcome:
    """Read the victims' labels from their smashed data.

    Args:
        view: of the attacker.

    Returns:
        `label_accuracy`, the share read correctly; `label_guess`, that of the attacker's most frequent label; and
        `label_shown`, that of uploaded labels which are true.
    """
    known, victims = view.known, view.victims
    if known.smashed is None or victims.smashed is None or not view.are_classes:
        return Outcome()
    found = linear_probe(known.smashed.flatten(1), known.labels, victims.smashed.flatten(1))
    guess = known.labels.mode().values
    figures = {
        "label_accuracy": float((found == victims.labels).float().mean()),
        "label_guess": float((victims.labels == guess).float().mean()),
    }
    if victims.shown is not None:
        figures["label_shown"] = float((victims.labels == victims.shown).float().mean())
    return Outcome(figures)


def linear_probe(features: Tensor, labels: Tensor, others: Tensor) -> Tensor:
    """Fit a multinomial logistic regression with weight decay and return the classes of other examples.

    Args:
        features: shape (n, D).
        labels: int64, shape (n,).
        others: shape (m, D).

    Returns:
        Classes, int64, shape (m,).
    """
    classes, positions = torch.unique(labels, return_inverse=True)
    mean, spread = features.mean(0), features.std(0).clamp_min(1e-6)
    scaled = torch.cat([(features - mean) / spread, torch.ones_like(features[:, :1])], 1)
    weight = torch.zeros(scaled.shape[1], len(classes), device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(scaled @ weight, positions) + _DECAY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        scores = torch.cat([(others - mean) / spread, torch.ones_like(others[:, :1])], 1) @ weight
    found: Tensor = classes[scores.argmax(1)]
    return found
