"""Analysis of a client's loss at one point of training: curvature, noise, and what its probes see of the gradient."""

import copy
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from heron.algorithms import Algorithm
from heron.client.runtime import Orders
from heron.client.torch_runtime.runtime import TorchRuntime
from heron.curvature.client_loss import ClientLoss, without_dropout
from heron.curvature.gradients import ProbeQuality, noise_scale, probe_quality
from heron.curvature.spectrum import Spectrum, spectrum_of
from heron.data import Batch
from heron.seeds import derive_seed
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.wire.groups import Settings


@dataclass(frozen=True)
class Effort:
    """Bounds of the work.

    Attributes:
        steps: most steps of Lanczos; each is a product with the Hessian and a vector that is kept.
        probes: most random vectors for the trace.
        repeats: zeroth-order estimates that are compared with the gradient.
    """

    steps: int = 40
    probes: int = 100
    repeats: int = 16


@dataclass(frozen=True)
class Analysis:
    """A client's loss at one point of training.

    Attributes:
        dimension: d, number of parameters that clients train.
        loss: mean over the examples.
        gradient_norm: length of its gradient.
        noise_scale: tr(Sigma) / |G|^2 in examples; NaN with fewer than two batches.
        spectrum: of its Hessian.
        probes: zeroth-order estimates beside the gradient of one batch; None if the run has no probes.
    """

    dimension: int
    loss: float
    gradient_norm: float
    noise_scale: float
    spectrum: Spectrum
    probes: ProbeQuality | None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON has them; numbers that are not finite as None."""
        flat = {**asdict(self), "effective_rank": self.spectrum.effective_rank}
        return {name: _jsonable(value) for name, value in flat.items()}


def analyse(
    split: SplitModel,
    algorithm: Algorithm,
    settings: Settings,
    criterion: Criterion,
    examples: tuple[Tensor, Tensor],
    effort: Effort | None = None,
) -> Analysis:
    """Analyse the loss of an algorithm's clients; nothing is changed.

    Args:
        split: the cut network at the parameters to look at.
        algorithm: which clients.
        settings: of the run; estimator, batch size and seed count here.
        criterion: mean loss over a batch.
        examples: inputs, shape (n, ...), and labels, shape (n, ...).
        effort: bounds of the work; the defaults if None.

    Raises:
        ConfigError: if the algorithm's clients train nothing.
    """
    inputs, labels = examples
    effort = effort or Effort()
    seed = derive_seed("analysis", settings.seed)
    whole = ClientLoss(split, algorithm, settings, criterion, inputs, labels)
    gradient = whole.gradient()
    return Analysis(
        dimension=whole.dimension,
        loss=whole.loss(),
        gradient_norm=float(gradient.norm()),
        noise_scale=noise_scale(whole.batch_gradients()),
        spectrum=spectrum_of(
            whole.hessian_product, whole.dimension, steps=effort.steps, probes=effort.probes, seed=seed
        ),
        probes=_probes(split, algorithm, settings, criterion, examples, effort.repeats),
    )


def _probes(
    split: SplitModel,
    algorithm: Algorithm,
    settings: Settings,
    criterion: Criterion,
    examples: tuple[Tensor, Tensor],
    repeats: int,
) -> ProbeQuality | None:
    """Probe all that clients train on the first batch, in the precision of the run."""
    estimator = algorithm.learning(settings).estimator
    if estimator is None:
        return None
    inputs, labels = (tensor[: settings.client.batch_size] for tensor in examples)
    gradient = ClientLoss(split, algorithm, settings, criterion, inputs, labels).gradient()
    parts, head = copy.deepcopy(split), algorithm.head or "server"
    without_dropout(parts.train())
    if algorithm.head is None:
        parts.server.requires_grad_(False)
    runtime = TorchRuntime(parts, criterion, head=head, orders=Orders(probes=True), client=settings.client)
    assert runtime.theta is not None  # asked for by the orders
    batch = Batch(inputs.cpu().numpy(), labels.cpu().numpy())
    seed = derive_seed("analysis probes", settings.seed)
    return probe_quality(runtime.theta, lambda: runtime.loss(batch, 0), gradient, estimator, repeats=repeats, seed=seed)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _jsonable(entry) for name, entry in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [*value] if isinstance(value, tuple | np.ndarray) else value
