"""Prototypes of cheaper probes below an order boundary, for `probes.py` and `probe_quality.py`.

All of them estimate the batch gradient g of the surrogate L(v) = sum_b L_b(v) of B examples in d parameters, and all
can be replayed from seeds, scalars and the averaged models that every party knows. In the limit mu -> 0, with
Rademacher signs u, w (E[u u^T] = I, |u|^2 = d), v = E|g_hat - g|^2 / |g|^2 and F one forward of the part below:

    plain, q probes    g_hat = (1/q) sum_p (u_p . g) u_p           v = (d - 1) / q                           q F
    central            the same limit, without the bias in mu      v = (d - 1) / q                          2q F
    blocks             n_k probes per group k of d_k parameters,   v = sum_k (d_k - 1)|g_k|^2 / (n_k |g|^2)
                       from the clean activation under it          sum_k n_k c_k, c_k the forward from there on
    sign flips         u_b = U o (r_b s_b^T) per example b         v = [d sum_b |g_b|^2 + sum_k n_k (|sum_b g_bk|^2
                       (Flipout, Wen et al., ICLR 2018)                - sum_b |g_bk|^2)] / |g|^2 - 1        2 F
                       g_hat = sum_b (u_b . g_b) u_b               with g_b of L_b, k over groups of n_k entries that
                                                                   share their signs (the taps of a filter)
    shaped             u = sigma o w, g_hat = (u . g) u, which     E cos^2 = sum sigma^2 g^2 / (sum sigma^2 |g|^2)
                       has mean sigma^2 o g                        against 1 / d of a plain probe             1 F
    guided             u = (w + sqrt(d) e m) / sqrt 2, m the last  E cos^2 = (1 / d + cos^2(m, g)) / 2        1 F
                       global update, |m| = 1, e a sign (Guided ES, Maheswaranathan et al., ICML 2019)

With all n_k = 1 the flips have v = (d - 1)(1 + rho) / B, rho = tr(Sigma) / |g|^2 of the per-example gradients: B probes
for the price of two, divided by 1 + rho. An estimate of relative variance v has cos^2 about 1 / (1 + v) to g.

`B` examples.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from heron.arrays import Array
from heron.client.first_order import LocalLossClient
from heron.client.step import StepGenerator, StepResult
from heron.client.torch_runtime.boundary import BoundaryPass
from heron.client.torch_runtime.runtime import TorchRuntime
from heron.client.zeroth_order import ZerothOrderPart
from heron.data import Batch
from heron.seeds import StepKey, derive_seed
from heron.split import place_boundary
from heron.tensors import as_tensor
from heron.wire.learning import Learning
from heron.zo import FlatParameters, LossFunction, RuleState, direction


class Part(ZerothOrderPart):
    """Plain one-sided probes with a dense update, the base of all prototypes.

    Args:
        theta: the parameters below the boundary.
        learning: rates, mu, number of probes.
        beta1: decay of the first moment.
        spread: normalise by one running RMS for all coordinates, as the scalars have it, instead of Adam's d.
        decay_rounds: the learning rate falls linearly to zero over so many rounds; 0 for a constant one.
    """

    theta: FlatParameters

    def __init__(
        self,
        theta: FlatParameters,
        learning: Learning,
        *,
        beta1: float = 0.9,
        spread: bool = False,
        decay_rounds: int = 0,
    ) -> None:
        super().__init__(theta, learning)
        self._rate = learning.client.learning_rate
        self._beta1, self._spread, self._decay_rounds = beta1, spread, decay_rounds
        self._mu, self._num_probes = self.estimator.mu, self.estimator.num_probes
        self._received: Tensor | None = None

    def load(self, model: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Also remembers the averaged models, which every party has seen."""
        received = torch.cat([as_tensor(array).reshape(-1) for array in model.values()])
        if self._received is not None and not torch.equal(received, self._received):
            self.moved(received - self._received)
        self._received = received
        super().load(model, state)

    def moved(self, update: Tensor) -> None:
        """Take the last round's change of the averaged model."""

    @torch.no_grad()
    def learn(self, loss_fn: LossFunction, clean_loss: Array, key: StepKey) -> None:
        """Estimate and descend by Adam (bias corrections as in heron.zo)."""
        gradient = self.estimate(loss_fn, as_tensor(clean_loss), key)
        steps, moments = self._state.num_steps + 1, self._state.moments
        power = gradient.square()
        first = moments["first"].mul_(self._beta1).add_(gradient, alpha=1 - self._beta1)
        second = moments["second"].mul_(0.999).add_(power.mean() if self._spread else power, alpha=0.001)
        root = (second / (1 - 0.999**steps)).sqrt_().add_(1e-8)
        left = 1 - key.round_index / self._decay_rounds if self._decay_rounds else 1.0
        self.theta.theta.sub_(first / root, alpha=left * self._rate / (1 - self._beta1**steps))
        self.theta.restore_(force=True)
        self._state = RuleState(steps, moments)

    def estimate(self, loss_fn: LossFunction, clean_loss: Tensor, key: StepKey) -> Tensor:
        """g_hat, shape (d,)."""
        total = torch.zeros_like(self.theta.theta)
        for probe in range(self._num_probes):
            total += self.along(self.direction(key.seed("direction", probe)), loss_fn, clean_loss)
        return total / self._num_probes

    def along(self, direction_d: Tensor, loss_fn: LossFunction, clean_loss: Tensor) -> Tensor:
        """The term s u of one direction."""
        torch.add(self.theta.theta, direction_d, alpha=self._mu, out=self.theta.work)
        return float((loss_fn().sum() - clean_loss) / self._mu) * direction_d

    def direction(self, seed: int) -> Tensor:
        """u, shape (d,)."""
        return direction(seed, 0, len(self.theta), like=self.theta.theta)


class Blocks(Part):
    """The last layer probed alone, `top` times, from the clean activation under it; the layers under it together."""

    def __init__(self, *arguments: Any, top: int = 1, **options: Any) -> None:
        super().__init__(*arguments, **options)
        last = layer_masks(self.theta)[-1]
        self._groups = ((1 - last, self._num_probes), (last, top))

    def estimate(self, loss_fn: LossFunction, clean_loss: Tensor, key: StepKey) -> Tensor:
        """The groups' estimates side by side. The prototype runs the layers that a real one would not."""
        total = torch.zeros_like(self.theta.theta)
        for group, (mask, count) in enumerate(self._groups):
            for probe in range(count):
                u = self.direction(key.seed("direction", group, probe)) * mask
                total += self.along(u, loss_fn, clean_loss) / count
        return total


class Flips(Part):
    """Per-example directions by sign flips; one scalar per example."""

    def estimate(self, loss_fn: LossFunction, clean_loss: Tensor, key: StepKey) -> Tensor:  # noqa: ARG002
        """sum_b s_b u_b. The clean losses by example are computed anew here; a real one keeps them."""
        clean_B: Tensor = loss_fn()
        flips = SignFlips(self.theta, key.seed("direction", 0), len(clean_B))
        with flips.applied(self._mu):
            scalars_B = (loss_fn() - clean_B) / self._mu
        return flips.combine(scalars_B)


class Shaped(Part):
    """Directions shaped by past global updates: sigma^2 ~ root of their mean square, or of what they add up to.

    With `travelled` sigma^2 ~ (distance travelled since the start)^2, in which the noise of updates averages out.
    """

    def __init__(self, *arguments: Any, travelled: bool = False, **options: Any) -> None:
        super().__init__(*arguments, spread=True, **options)
        self._history = torch.zeros_like(self.theta.theta)
        self._travelled = travelled

    def moved(self, update: Tensor) -> None:
        """The sum, or the EMA of squares."""
        if self._travelled:
            self._history += update
        else:
            self._history.mul_(0.9).add_(update.square(), alpha=0.1)

    def direction(self, seed: int) -> Tensor:
        """The signs w times sigma."""
        return super().direction(seed) * shape_of(self._history, 2.0 if self._travelled else 0.5)


class Guided(Part):
    """Half of a direction's energy along the last global update."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, spread=True, **options)
        self._update = torch.zeros_like(self.theta.theta)

    def moved(self, update: Tensor) -> None:
        """The last one."""
        self._update = update / update.norm()

    def direction(self, seed: int) -> Tensor:
        """(w + sqrt(d) e m) / sqrt 2."""
        sign = direction(derive_seed("guided", seed >> 1), 0, 1, like=self.theta.theta)
        plain = super().direction(seed)
        return (plain + math.sqrt(len(plain)) * sign * self._update) / math.sqrt(2)


class SignFlips:
    """The directions u_b = U o (r_b s_b^T) of one step: r_b over output channels, s_b over input channels, and biases.

    Args:
        flat: the parameters, all of them of convolutions.
        seed: of U; the signs have seeds derived from it.
        size: B.
    """

    def __init__(self, flat: FlatParameters, seed: int, size: int) -> None:
        self._base = direction(seed, 0, len(flat), like=flat.theta)
        self._weights = flat.split(self._base)
        self._layers = dict(flat.module.named_modules())
        self._signs: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        for name, weight in self._weights.items():
            if name.endswith(".weight"):
                widths = (weight.shape[0], weight.shape[1], 1)
                flips = derive_seed("flips", seed >> 1, len(self._signs))
                signs = direction(flips, 0, size * sum(widths), like=self._base)
                rows, columns, bias = signs.view(size, -1).split_with_sizes(widths, dim=1)
                self._signs[name.removesuffix(".weight")] = (rows, columns, bias)

    @contextmanager
    def applied(self, mu: float) -> Iterator[None]:
        """Every example sees its own parameters v + mu u_b: one more convolution per layer."""
        hooks = [self._layers[name].register_forward_hook(self._hook(name, mu)) for name in self._signs]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def pattern(self) -> Tensor:
        """The signs r_b s_b^T of every parameter, shape (B, d)."""
        parts = []
        for name, weight in self._weights.items():
            rows, columns, bias = self._signs[name.rpartition(".")[0]]
            taps = rows[:, :, None] * columns[:, None] if weight.dim() > 1 else (rows * bias)[..., None]
            parts.append(taps.flatten(1).repeat_interleave(weight[0, 0].numel() if weight.dim() > 1 else 1, dim=1))
        return torch.cat(parts, dim=1)

    def directions(self) -> Tensor:
        """u_b, shape (B, d)."""
        return self._base * self.pattern()

    def combine(self, scalars_B: Tensor) -> Tensor:
        """sum_b s_b u_b; a real one multiplies r^T diag(s) s per layer instead of making the pattern."""
        return self._base * (scalars_B.float() @ self.pattern())

    def _hook(self, name: str, mu: float) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        rows, columns, bias = (sign[:, :, None, None] for sign in self._signs[name])

        def add(layer: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> Tensor:
            assert isinstance(layer, nn.Conv2d)
            weight, shift = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
            change = conv2d(inputs[0] * columns, weight, None, layer.stride, layer.padding)
            perturbed: Tensor = outputs + mu * rows * (change + bias * shift[:, None, None])
            return perturbed

        return add


class ExamplePass(BoundaryPass):
    """A clean pass of one piece whose surrogate has a loss for every example."""

    def _surrogate(self) -> Tensor:
        """Compute L_b(v) at the module's present parameters, shape (B,)."""
        outputs = self._boundary.head_below(self._boundary.below(self._batch.inputs))
        return by_example(self._deltas[0], outputs)


class ProbeClient(LocalLossClient):
    """A client whose part below the boundary learns by a prototype, from losses by example."""

    def __init__(self, runtime: TorchRuntime, learning: Learning, make_part: Callable[..., Part]) -> None:
        super().__init__(runtime, learning)
        assert isinstance(learning.client.exact, int)  # there are probes below
        assert runtime.theta is not None
        self.part = self.probed = make_part(runtime.theta, learning)
        self.local = runtime.local
        self.boundary = place_boundary(
            self.local.module["client"], self.local.module["auxiliary"], learning.client.exact
        )

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make the step of `LocalLossClient` with an `ExamplePass`."""
        clean = ExamplePass(self.local, self.boundary, self.local.tensors_of(batch), key, probes=True)
        yield clean.take_smashed()
        finished = clean.finish()
        self.update_exact(key)
        assert finished.surrogate is not None  # asked for
        self.part.learn(finished.surrogate.loss, finished.surrogate.anchor, key)
        return StepResult(finished.loss, self.part.sent())


def by_example(delta: Tensor, outputs: Tensor) -> Tensor:
    """<delta_b, outputs_b>, shape (B,), float64."""
    size = len(delta)
    return torch.bmm(delta.reshape(size, 1, -1), outputs.reshape(size, -1, 1)).view(size).double()


def layer_masks(flat: FlatParameters) -> list[Tensor]:
    """One mask over the d parameters per layer."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in flat.named_tensors()))
    sizes = [(name.rpartition(".")[0], tensor.numel()) for name, tensor in flat.named_tensors().items()]
    return [torch.cat([torch.full((size,), float(owner == layer)) for owner, size in sizes]) for layer in layers]


def shape_of(history: Tensor, power: float) -> Tensor:
    """Sigma with mean(sigma^2) = 1 and a floor; ones where there is no history."""
    if not history.any():
        return torch.ones_like(history)
    squares = history.abs().pow(power)
    squares = squares + 0.1 * squares.mean()
    return (squares / squares.mean()).sqrt()
