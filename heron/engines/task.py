"""Refuses a network, a criterion and data that make no task together, before anything is trained.

What fits is found out by trying: the network runs in evaluation mode, and the criterion on its outputs, on a few real
examples, among them those with extreme inputs and labels. `B` examples of a batch, `C` classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heron.algorithms import Algorithm
from heron.data import Splits, fetch, num_examples
from heron.data.scan import Scan, scan
from heron.engines.loss_check import check_labels, check_loss
from heron.errors import DataError, HeronError, SplitError
from heron.split import SplitModel
from heron.split.criterion import Criterion, MeanLoss
from heron.split.untouched import attempt, untouched
from heron.tensors import as_tensor
from heron.wire.groups import Settings

_FIRST = 2


def check_task(
    split: SplitModel,
    algorithm: Algorithm,
    criterion: Criterion,
    splits: Splits,
    settings: Settings,
    *,
    scanned: Scan | None = None,
) -> None:
    """Refuse data that a network or a criterion cannot use.

    All examples are looked at once, so that wrong labels of the test set are not found out after the first round.

    Args:
        split: the cut network, on its device; restored after the runs.
        algorithm: a row of `ALGORITHMS`.
        criterion: mean loss over a batch.
        splits: the data; validation and test examples may be absent.
        settings: device and micro-batches matter here.
        scanned: scan of the training examples, if there is one already.

    Raises:
        DataError: if inputs or labels do not fit, or there are no training examples.
        ConfigError: if the criterion is no differentiable mean.
        SplitError: if a part does not run.
    """
    if not num_examples(splits.train):
        raise DataError("expected at least 1 training example, found an empty data set; check how it was loaded")
    loss, device = MeanLoss(criterion), torch.device(settings.device)
    heads = {"server": split.server}
    if algorithm.head == "auxiliary" and split.auxiliary is not None:
        heads["auxiliary network"] = split.auxiliary
    named = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    for name, examples in named.items():
        if not num_examples(examples):
            continue
        known = scanned if name == "training" and scanned is not None else scan(examples)
        positions = _positions(known, loss)
        batch = fetch(examples, np.array(positions, dtype=np.int64), device)
        inputs, labels = as_tensor(batch.inputs), as_tensor(batch.labels)
        where = [f"{name} example {position}" for position in positions]
        with untouched(split, device):
            split.eval()
            smashed = _smashed(split, inputs, where)
            outputs = {part: _outputs(part, module, smashed) for part, module in heads.items()}
            for part, found in outputs.items():
                check_labels(part, found, known.labels, loss, name)
                check_loss(part, found, labels, loss, micro_batch=settings.client.micro_batch or None)


def _positions(known: Scan, loss: MeanLoss) -> list[int]:
    """Positions of the examples to try, each once."""
    first = range(min(_FIRST, len(known.labels)))
    return list(dict.fromkeys([*first, *known.unusual, *_extreme_labels(known.labels, loss)]))


def _extreme_labels(labels: np.ndarray, loss: MeanLoss) -> Iterator[int]:
    """Yield the positions of the examples with the smallest and the largest label that counts."""
    rows = labels.reshape(len(labels), -1)
    if not rows.size or rows.dtype.kind not in "iuf":
        return
    counted = np.ones_like(rows, dtype=bool) if loss.ignored is None or rows.dtype.kind == "f" else rows != loss.ignored
    if counted.any():
        for pick, filler in ((np.argmin, rows[counted].max()), (np.argmax, rows[counted].min())):
            yield int(np.unravel_index(pick(np.where(counted, rows, filler)), rows.shape)[0])


def _smashed(split: SplitModel, inputs: Tensor, where: Sequence[str]) -> Tensor:
    with _checked_embeddings(split.client, where):
        smashed: Tensor = _outputs("client", split.client, inputs)
    if inputs.dtype.is_floating_point and isinstance(smashed, Tensor) and len(smashed) == len(inputs):
        fits = _finite(inputs) | _finite(smashed)
        if not bool(fits.all()):
            raise DataError(
                f"expected finite inputs, found NaN or infinity in {where[int((~fits).nonzero()[0])]}; repair it or "
                f"leave it out"
            )
    return smashed


def _outputs(part: str, module: nn.Module, inputs: Tensor) -> Any:
    """Outputs of a part, the very object that it returns."""
    returned: list[Any] = []
    hook = module.register_forward_hook(lambda _, __, outputs: returned.append(outputs))
    try:
        attempt(f"{part} in evaluation mode", module, inputs.clone())
    except SplitError as error:
        if isinstance(error.__cause__, HeronError):
            raise error.__cause__ from None
        raise
    finally:
        hook.remove()
    return returned[-1]


def _finite(tensor: Tensor) -> Tensor:
    return tensor.reshape(len(tensor), -1).isfinite().all(1)


@contextmanager
def _checked_embeddings(module: nn.Module, where: Sequence[str]) -> Iterator[None]:
    """Refuse tokens beyond an embedding before it looks them up, which ends a process on a GPU."""

    def refuse(name: str, embedding: nn.Embedding | nn.EmbeddingBag, tokens: object) -> None:
        if not isinstance(tokens, Tensor) or not tokens.numel() or tokens.dtype.is_floating_point:
            return
        beyond = (tokens < 0) | (tokens >= embedding.num_embeddings)
        if bool(beyond.any()):
            place = [int(index) for index in beyond.nonzero()[0]]
            example = where[place[0]] if tokens.dim() > 1 and len(tokens) == len(where) else "an example"
            raise DataError(
                f"expected tokens from 0 to {embedding.num_embeddings - 1} for the embedding {name!r} of the client, "
                f"found {int(tokens[tuple(place)])} in {example}; enlarge the embedding or check the tokens"
            )

    hooks = [
        child.register_forward_pre_hook(
            lambda embedding, args, keywords, name=name: refuse(
                name, embedding, args[0] if args else keywords.get("input")
            ),
            with_kwargs=True,
        )
        for name, child in module.named_modules()
        if isinstance(child, nn.Embedding | nn.EmbeddingBag)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
