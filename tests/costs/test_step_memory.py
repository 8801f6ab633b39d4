"""Memory of a zeroth-order step at the paper's size: that of a forward pass, one more copy of theta and the moments."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.engines.in_process import Federation
from heron.engines.profile import profile_client
from heron.metering import measure_memory
from heron.split import build_seeded, resnet18
from heron.wire.groups import Client, Probes, Settings
from tests.tiers import rows

BATCH = 256
MIB = 2**20


@pytest.fixture(scope="module")
def dataset() -> TensorDataset:
    """Costs depend on shapes alone."""
    return TensorDataset(torch.zeros(BATCH, 3, 32, 32), torch.zeros(BATCH, dtype=torch.int64))


def federation(name: str, dataset: TensorDataset, *, probes: int = 1) -> Federation:
    settings = Settings(client=Client(batch_size=BATCH, learning_rate=1e-4), estimator=Probes(probes=probes))
    split = build_seeded(resnet18, 0)
    return Federation(split, ALGORITHMS[name], dataset, [np.arange(BATCH)], settings)


@pytest.mark.parametrize("probes", rows([1, 3], {1}))
def test_step_peak_is_the_forward_pass_and_little_else(dataset: TensorDataset, probes: int) -> None:
    parties = federation("heron", dataset, probes=probes)
    module = parties.runtime.local.module
    inputs, labels = dataset.tensors

    def forward() -> None:
        with torch.no_grad():
            parties.runtime.local.head_loss(parties.runtime.local.smash(inputs), labels)

    plain = measure_memory(
        forward, parameters=module.parameters(), buffers=module.buffers(), inputs=[inputs, labels], modules=[module]
    )
    cost = profile_client(parties, repeats=1)
    theta_bytes = 4 * sum(parameter.numel() for parameter in module.parameters())
    allowed = plain.peak_bytes + 2 * theta_bytes + theta_bytes
    assert cost.peak_memory_bytes <= 1.05 * allowed
    assert cost.memory_breakdown_bytes["gradients"] == 0
    assert cost.forwards_per_step == probes + 1
    assert sum(cost.memory_breakdown_bytes.values()) == cost.peak_memory_bytes


@pytest.mark.slow
def test_heron_against_first_order_at_the_papers_cut(dataset: TensorDataset) -> None:
    """The paper: 259 against 726 MiB and 39.9 against 59.85 GFLOP; first order skips one input gradient."""
    heron, first_order = (profile_client(federation(name, dataset), repeats=1) for name in ("heron", "cse_fsl"))
    assert heron.peak_memory_bytes <= 140 * MIB
    assert first_order.peak_memory_bytes <= 350 * MIB
    assert 0.66 <= heron.flops_per_step / first_order.flops_per_step <= 0.68
    assert heron.smashed_bytes_per_step == BATCH * 64 * 32 * 32 * 4
