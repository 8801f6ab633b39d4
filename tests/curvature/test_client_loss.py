"""Derivatives of a client's loss against those of the whole function, and the analysis against a dense Hessian."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.curvature import ClientLoss, Effort, analyse
from heron.errors import ConfigError
from heron.split import SplitModel, linear_head
from heron.wire.groups import Client, Probes, Settings

BATCH, CLASSES = 8, 3
SETTINGS = Settings(client=Client(batch_size=BATCH), estimator=Probes(probes=4))


def network(*, norm: bool = False) -> SplitModel:
    """A client of some 500 parameters with its head."""
    torch.manual_seed(0)
    layers = [nn.Linear(10, 24), *([nn.BatchNorm1d(24)] if norm else []), nn.Tanh(), nn.Dropout(0.5), nn.Linear(24, 6)]
    return SplitModel(
        nn.Sequential(*layers), nn.Sequential(nn.Tanh(), nn.Linear(6, CLASSES)), linear_head((6,), CLASSES)
    )


def examples(count: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 10, generator=generator), torch.randint(0, CLASSES, (count,), generator=generator)


def normalised(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """BatchNorm by plain operations: forward mode makes a matrix of torch's own that is not symmetric."""
    centred = x - x.mean(dim=0)
    return centred / (centred.square().mean(dim=0) + norm.eps).sqrt() * norm.weight + norm.bias


def literal(split: SplitModel, head: nn.Module, trained: list[str]) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the mean loss over batches, as whole arrays."""
    module = nn.ModuleDict({"client": copy.deepcopy(split.client), "head": copy.deepcopy(head)}).double().train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, nn.BatchNorm1d):
            part.forward = partial(normalised, part)
    named = {name: p.detach() for name, p in module.named_parameters() if name.startswith(tuple(trained))}
    inputs, labels = examples()

    def loss(flat: Tensor) -> Tensor:
        pieces = torch.split(flat, [p.numel() for p in named.values()])
        values = {name: piece.view_as(p) for (name, p), piece in zip(named.items(), pieces, strict=True)}
        own = {part: {n.partition(".")[2]: v for n, v in values.items() if n.startswith(part)} for part in module}
        total = torch.zeros((), dtype=torch.float64)
        for start in range(0, len(labels), BATCH):
            x, y = inputs[start : start + BATCH].double(), labels[start : start + BATCH]
            outputs = functional_call(module["head"], own["head"], functional_call(module["client"], own["client"], x))
            total = total + cross_entropy(outputs, y) * (len(y) / len(labels))
        return total

    flat = torch.cat([p.reshape(-1) for p in named.values()])
    return torch.func.grad(loss)(flat), torch.func.hessian(loss)(flat)


CASES = {
    "heron": ("heron", False, "auxiliary", ["client", "head"]),
    "BatchNorm": ("heron", True, "auxiliary", ["client", "head"]),
    "a head that clients do not train": ("fsl_sage", False, "auxiliary", ["client"]),
    "whole networks": ("decomfl", False, "server", ["client", "head"]),
    "the Main Server's loss": ("ho_sfl", False, "server", ["client"]),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_equal_those_of_the_whole_function(name: str) -> None:
    algorithm, norm, head, trained = CASES[name]
    split = network(norm=norm)
    before = copy.deepcopy(split.state_dict())
    found = ClientLoss(split, ALGORITHMS[algorithm], SETTINGS, cross_entropy, *examples())
    gradient, hessian = literal(split, getattr(split, head), trained)
    assert found.dimension == len(gradient)
    assert torch.allclose(found.gradient(), gradient, atol=1e-12)
    vector = torch.randn(len(gradient), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.allclose(found.hessian_product(vector), hessian @ vector, atol=1e-10)
    assert all(torch.equal(tensor, before[key]) for key, tensor in split.state_dict().items())


def test_trace_and_norm_equal_those_of_a_dense_hessian() -> None:
    split = network()
    _, hessian = literal(split, split.auxiliary, ["client", "head"])
    found = analyse(split, ALGORITHMS["heron"], SETTINGS, cross_entropy, examples(), Effort(steps=60, probes=400))
    values = torch.linalg.eigvalsh(hessian)
    assert found.dimension == len(values) > 400
    assert found.spectrum.norm == pytest.approx(float(values.abs().max()), rel=0.01)
    assert found.spectrum.trace == pytest.approx(float(values.sum()), rel=0.05)
    assert found.spectrum.effective_rank == pytest.approx(float(values.sum() / values.abs().max()), rel=0.05)
    assert found.probes is not None
    assert found.probes.variance == pytest.approx(found.probes.expected_variance, rel=0.3)
    assert found.probes.cosine == pytest.approx((1 + found.probes.expected_variance) ** -0.5, rel=0.3)
    assert found.to_dict()["effective_rank"] == found.spectrum.effective_rank


def test_a_client_that_learns_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected an algorithm whose clients learn, found frozen"):
        analyse(network(), ALGORITHMS["frozen"], SETTINGS, cross_entropy, examples())
