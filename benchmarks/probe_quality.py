"""Quality of the estimates of cheaper probes: relative variance and cosine, compared with the derivations.

    python benchmarks/probe_quality.py      some minutes

`probe_schemes.py` defines the schemes and derives their variances. Trains plain HERON on `digits-published` with
client.exact 1 and 2 and stops after rounds 0, 10, 40 and 80 to compare, on batches of 32, every scheme's estimates
with the true batch gradient below the boundary: relative variance as derived, as measured in the limit mu -> 0 and
with finite differences at mu = 1e-3, and cosine. `worth` is the number of plain probes that are as good, by variance
where the scheme is unbiased and by mean squared cosine where it is not; `worth_per_forward` is that over the scheme's
cost in forwards of the part below, so 1 is a plain probe. Saves benchmarks/results/probes.json, key "quality".
"""

import statistics
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from probe_schemes import Part, ProbeClient, SignFlips, by_example, layer_masks, shape_of
from probes import RATES, build, save
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from heron.data import Batch, fetch
from heron.engines.in_process import Federation
from heron.seeds import derive_seed
from heron.tensors import as_tensor
from heron.zo import FlatParameters, direction

STAGES, BATCHES, DRAWS, MU = (0, 10, 40, 80), 24, 64, 1e-3


class Inspected(ProbeClient):
    """A plain client that shows its gradients."""

    def inspect(self, batch: Batch) -> tuple[Tensor, Callable[[], Tensor]]:
        """Gradients of the surrogate by example, shape (B, d) with sum g, and the surrogate by example."""
        parts, flat = self.boundary, self.part.theta
        below = nn.Sequential(parts.below, parts.head_below)
        inputs, labels = as_tensor(batch.inputs), as_tensor(batch.labels)
        boundary = below(inputs).detach().requires_grad_()
        loss = self.local.criterion(parts.head_above(parts.above(boundary)), labels)
        (delta,) = torch.autograd.grad(loss, boundary)
        tensors = {name: tensor.detach() for name, tensor in below.named_parameters()}

        def surrogate(tensors: dict[str, Tensor], inputs: Tensor, delta: Tensor) -> Tensor:
            outputs: Tensor = functional_call(below, tensors, (inputs[None],))
            return (outputs * delta[None]).sum()

        found = vmap(grad(surrogate), in_dims=(None, 0, 0))(tensors, inputs, delta)
        assert [t.shape for t in tensors.values()] == [t.shape for t in flat.named_tensors().values()]
        gradients = torch.cat([tensor.flatten(1) for tensor in found.values()], dim=1)
        return gradients, torch.no_grad()(lambda: by_example(delta, below(inputs)))

    def forward_costs(self, inputs: Tensor) -> list[float]:
        """For every layer below, the forward from it on, in F."""
        macs: list[int] = []

        def count(layer: nn.Module, _: Any, outputs: Tensor) -> None:
            assert isinstance(layer.weight, Tensor)
            macs.append(outputs.numel() * layer.weight[0].numel())

        layers = [layer for layer in self.boundary.below if hasattr(layer, "weight")]
        hooks = [layer.register_forward_hook(count) for layer in layers]
        self.boundary.below(inputs)
        for hook in hooks:
            hook.remove()
        return [sum(macs[index:]) / sum(macs) for index in range(len(macs))]


def quality() -> list[dict[str, Any]]:
    """Rows of every boundary, stage and scheme."""
    rows = []
    for exact, (rate, _) in RATES.items():
        run = build(exact, 0, [f"client.learning_rate={rate}"], partial(Inspected, make_part=Part))
        federation, past = run.federation, []
        learner = federation.learner
        assert isinstance(learner, Inspected)
        for stage in range(max(STAGES) + 1):
            if stage:
                federation.run_round()
            learner.load(federation.fed_server.global_model(), {})
            past.append(learner.part.theta.theta.clone())
            if stage in STAGES:
                rows += [{"exact": exact, "round": stage, **row} for row in at_stage(federation, learner, past)]
    return rows


def at_stage(federation: Federation, learner: Inspected, past: list[Tensor]) -> list[dict[str, Any]]:
    """Means over batches of every scheme's figures."""
    sums = defaultdict(list)
    chosen = [federation.partition[index % 5][32 * (index // 5) :][:32] for index in range(BATCHES)]
    batches = [fetch(federation.dataset, indices) for indices in chosen]
    seen = [learner.inspect(batch) for batch in batches]
    others = torch.stack([gradients.sum(0) for gradients, _ in seen])
    costs = learner.forward_costs(as_tensor(batches[0].inputs))
    for index, (gradients, loss_fn) in enumerate(seen):
        rest = torch.cat([others[:index], others[index + 1 :]])
        for name, figures in on_batch(learner.part.theta, gradients, loss_fn, past, rest, index).items():
            sums[name].append(figures)
    rows = []
    for name, each in sums.items():
        row: dict[str, Any] = {key: statistics.fmean(figures[key] for figures in each) for key in each[0]}
        blocks = {"blocks, each layer": sum(costs), "blocks, last layer 3 times": 1 + 3 * costs[-1]}
        cost = ({"central": 2.0, "flips": 2.0, "gradients": None} | blocks).get(name, 1.0)
        row |= {"scheme": name, "forwards": cost}
        if cost:
            plain = len(learner.part.theta) - 1
            unbiased = row.get("variance_derived")
            row["worth"] = plain / unbiased if unbiased else row["cos2"] * len(learner.part.theta)
            row["worth_per_forward"] = row["worth"] / cost
        rows.append(row)
    return rows


def on_batch(
    flat: FlatParameters,
    by_one: Tensor,
    loss_fn: Callable[[], Tensor],
    past: list[Tensor],
    others: Tensor,
    index: int,
) -> dict[str, dict[str, float]]:
    """Figures by scheme on one batch."""
    g, d = by_one.sum(0), len(flat)
    norm2, masks = g.square().sum(), layer_masks(flat)
    figures: dict[str, dict[str, float]] = {
        "gradients": {"norm": float(norm2.sqrt()), "rho": float(len(by_one) * by_one.square().sum() / norm2 - 1)}
        | {f"share_layer{k + 1}": float((g * mask).square().sum() / norm2) for k, mask in enumerate(masks)}
    }
    derived = {"plain": d - 1.0, "central": d - 1.0, "flips": flips_variance(flat, by_one)}
    for name, groups in block_groups(masks).items():
        derived[name] = float(sum((m.sum() - 1) / count * (g * m).square().sum() for m, count in groups) / norm2)
    drawn = draw(flat, by_one, loss_fn, index)
    for name, variance in derived.items():
        limit, real = torch.stack(drawn[name]), torch.stack(drawn[f"{name}/fd"])
        figures[name] = {
            "variance_derived": float(variance),
            "variance_measured": float((limit - g).square().sum(1).mean() / norm2),
            "variance_at_mu": float((real - g).square().sum(1).mean() / norm2),
            "cos": float(torch.cosine_similarity(limit, g[None]).mean()),
            "cos_at_mu": float(torch.cosine_similarity(real, g[None]).mean()),
        }
    for name, sigma2 in shapes(past, others, masks).items():
        figures[name] = {"cos2": float(sigma2 @ g.square() / (sigma2.sum() * norm2))}
    for name, back in (("guided", 1), ("guided, last 5 rounds", 5)):
        if len(past) > back:
            aligned = torch.cosine_similarity(past[-1] - past[-1 - back], g, dim=0).square()
            figures[name] = {"cos2_of_update": float(aligned), "cos2": float((1 / d + aligned) / 2)}
    return figures


def draw(flat: FlatParameters, by_one: Tensor, loss_fn: Callable[[], Tensor], index: int) -> dict[str, list[Tensor]]:
    """Estimates by scheme, in the limit and (/fd) with finite differences."""
    g, clean_B, drawn = by_one.sum(0), loss_fn(), defaultdict(list)

    def slope(up: Tensor, down: Tensor | None = None) -> Tensor:
        ends = []
        for direction_d, sign in ((up, MU), (down, -MU)):
            if direction_d is not None:
                flat.work.copy_(flat.theta + sign * direction_d)
                ends.append(loss_fn().sum())
                flat.restore_(force=True)
        return ((ends[0] - (clean_B.sum() if down is None else ends[1])) / (MU * len(ends))).float()

    groups_by_name = block_groups(layer_masks(flat))
    for number in range(DRAWS):
        seed = derive_seed("quality", index, number)
        u = direction(seed, 0, len(flat), like=flat.theta)
        drawn["plain"].append((u @ g) * u)
        drawn["plain/fd"].append(slope(u) * u)
        drawn["central"].append(drawn["plain"][-1])
        drawn["central/fd"].append(slope(u, u) * u)
        for name, groups in groups_by_name.items():
            limit = real = torch.zeros_like(g)
            for group, (mask, count) in enumerate(groups):
                for probe in range(count):
                    probe_seed = derive_seed("quality", index, number, group, probe)
                    u = direction(probe_seed, 0, len(flat), like=flat.theta) * mask
                    limit, real = limit + (u @ g) * u / count, real + slope(u) * u / count
            drawn[name].append(limit)
            drawn[f"{name}/fd"].append(real)
        flips = SignFlips(flat, seed, len(by_one))
        drawn["flips"].append(flips.combine((by_one * flips.directions()).sum(1)))
        with flips.applied(MU):
            drawn["flips/fd"].append(flips.combine((loss_fn() - clean_B) / MU))
    return drawn


def block_groups(masks: list[Tensor]) -> dict[str, list[tuple[Tensor, int]]]:
    """Layers probed together, and how often."""
    return {
        "blocks, each layer": [(m, 1) for m in masks],
        "blocks, last layer 3 times": [(1 - masks[-1], 1), (masks[-1], 3)],
    }


def flips_variance(flat: FlatParameters, by_one: Tensor) -> float:
    """Variance of sign flips, as derived in `probe_schemes`."""
    d, norm2 = len(flat), by_one.sum(0).square().sum()
    taps = torch.cat(
        [torch.full((t.numel(),), float(t[0, 0].numel() if t.dim() > 1 else 1)) for t in flat.named_tensors().values()]
    )
    shared = taps @ (by_one.sum(0).square() - by_one.square().sum(0))
    return float((d * by_one.square().sum() + shared) / norm2 - 1)


def shapes(past: list[Tensor], others: Tensor, masks: list[Tensor]) -> dict[str, Tensor]:
    """sigma^2 of shaped directions: from history, and from what no party knows."""
    found = {}
    if len(past) > 1:
        history = torch.zeros_like(past[0])
        for before, after in pairwise(past):
            history.mul_(0.9).add_((after - before).square(), alpha=0.1)
        found["shaped, root of history"] = shape_of(history, 0.5).square()
        found["shaped, history"] = shape_of(history, 1.0).square()
        found["shaped, distance from start"] = shape_of((past[-1] - past[0]).square(), 1.0).square()
        found["shaped, history by layer"] = by_layer(history, masks)
    square = others.square().mean(0)
    found["shaped, true squares of other batches"] = square
    found["shaped, true squares by layer"] = by_layer(square, masks)
    return found


def by_layer(values: Tensor, masks: list[Tensor]) -> Tensor:
    """Every value's mean over its layer, shape (d,)."""
    return torch.stack([mask * (mask @ values) / mask.sum() for mask in masks]).sum(0)


def main() -> None:
    """Measure, print, save."""
    rows = quality()
    for row in rows:
        print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))
    save({"quality": rows})


if __name__ == "__main__":
    main()
