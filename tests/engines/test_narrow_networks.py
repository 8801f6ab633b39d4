"""Networks in float16 and bfloat16 train like those in float32: losses, scalars, moments and steps are in float32."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset

import heron
from heron.split import SplitModel, cut, linear_head
from heron.split.criterion import MeanLoss

INPUTS = torch.randn(120, 8, generator=torch.Generator().manual_seed(0))
LABELS = (INPUTS.sum(dim=1) > 0).long()


def setup_module() -> None:
    torch.set_num_threads(1)


def split(dtype: torch.dtype) -> SplitModel:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)).to(dtype)
    return cut(
        network, after="3", example=INPUTS[:2].to(dtype), auxiliary=lambda shape: linear_head(shape, 2).to(dtype)
    )


def losses(dtype: torch.dtype, algorithm: str, **changes: object) -> list[float]:
    result = heron.train(
        split(dtype),
        TensorDataset(INPUTS.to(dtype), LABELS),
        algorithm=algorithm,
        clients={"total": 2},
        rounds=3,
        estimator={"mu": 1e-2},
        **changes,
    )
    assert all(tensor.dtype == dtype for tensor in result.model.parameters())
    assert all(torch.isfinite(tensor).all() for tensor in result.model.parameters())
    return [row["train_loss"] for row in result.metrics]


CASES: list[tuple[str, dict[str, object]]] = [
    ("heron", {}),
    ("heron", {"client": {"exact": 1}}),
    ("heron", {"client": {"optimizer": "sgd", "keep_state": False}, "update": "scalars"}),
    ("cse_fsl", {}),
    ("sflv2", {"client": {"optimizer": "momentum"}}),
    ("ho_sfl", {"client": {"optimizer": "sgd"}}),
    ("hosl", {"client": {"optimizer": "sgd"}}),
]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("algorithm", "changes"), CASES, ids=[f"{name}-{changes}" for name, changes in CASES])
def test_losses_are_those_of_single_precision(algorithm: str, changes: dict[str, object], dtype: torch.dtype) -> None:
    tolerance = 3e-2 if dtype == torch.bfloat16 else 4e-3
    assert losses(dtype, algorithm, **changes) == pytest.approx(
        losses(torch.float32, algorithm, **changes), abs=tolerance
    )


def test_narrow_outputs_and_labels_are_compared_in_single() -> None:
    outputs, labels = torch.tensor([1.0, 2.0]).bfloat16(), torch.tensor([1.01, 2.0]).bfloat16()
    seen: list[torch.dtype] = []

    def criterion(found: Tensor, expected: Tensor, reduction: str = "mean") -> Tensor:
        seen.extend((found.dtype, expected.dtype))
        return mse_loss(found, expected, reduction=reduction)

    loss = MeanLoss(criterion)
    assert loss(outputs, labels).dtype == loss.losses(outputs, labels).dtype == torch.float32
    assert loss(outputs.double(), labels.long()).dtype == torch.float64
    assert seen == [torch.float32] * 4 + [torch.float64, torch.int64]


def test_a_criterion_with_narrow_weights_has_what_fits_them() -> None:
    weights = torch.tensor([1.0, 2.0]).bfloat16()
    outputs, labels = torch.zeros(3, 2).bfloat16(), torch.tensor([0, 1, 1])
    for criterion in (nn.CrossEntropyLoss(weights), partial(cross_entropy, weight=weights)):
        assert MeanLoss(criterion)(outputs, labels).dtype == torch.bfloat16
    assert MeanLoss(nn.CrossEntropyLoss(weights.float()))(outputs, labels).dtype == torch.float32


def test_a_radius_that_the_network_cannot_resolve_is_told() -> None:
    narrow = split(torch.bfloat16)
    for parameter in narrow.parameters():
        nn.init.ones_(parameter)
    data = TensorDataset(INPUTS.bfloat16(), LABELS)
    told = r"found mu=0\.001, which rounds off in \d+ of \d+ in torch\.bfloat16; raise mu to 7\.8e-03"
    with pytest.warns(UserWarning, match=told):
        heron.train(narrow, data, rounds=1, clients={"total": 1})
    heron.train(narrow, data, rounds=1, clients={"total": 1}, algorithm="cse_fsl")  # which probes nothing
