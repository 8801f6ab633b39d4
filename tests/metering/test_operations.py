"""No result of an operation is missed: what an independent profiler sees allocated, the meter sees."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.testing._internal.two_tensor import TwoTensor

from heron.metering import measure_memory

X = torch.arange(24.0).view(2, 12)  # 96 bytes
IMAGES = torch.zeros(2, 3, 8, 8)  # 1536 bytes
PAIR = TwoTensor(X, X)  # wraps tensors and owns no bytes


def resized() -> Tensor:
    out = torch.empty(4)
    return torch.add(X, X, out=out.resize_(0))


def filled_in_place() -> Tensor:
    return torch.empty(2, 12).add_(X).mul_(2.0).view(12, 2).t()


# (operation, bytes that its result owns and that are alive when it returns)
OPERATIONS: dict[str, tuple[Callable[[], object], int]] = {
    "out of place": (lambda: X + 1, 96),
    "in place": (filled_in_place, 96),
    "out=": (lambda: torch.add(X, X, out=torch.empty(2, 12)), 96),
    "out= that grows": (resized, 96),
    "clone": (X.clone, 96),
    "view": (lambda: X.view(-1)[3:], 0),
    "empty": (lambda: torch.empty(10), 40),
    "zeros of bytes": (lambda: torch.zeros(10, dtype=torch.uint8), 10),
    "tensor": (lambda: torch.tensor([1.0, 2.0]), 8),
    "from_numpy": (lambda: torch.from_numpy(np.zeros(10)), 80),
    "as_tensor": (lambda: torch.as_tensor(np.zeros(10)), 80),
    "cat": (lambda: torch.cat([X, X, X]), 288),
    "stack": (lambda: torch.stack([X, X]), 192),
    "index_select": (lambda: X.index_select(1, torch.tensor([0, 5])), 16 + 16),
    "several results": (lambda: X.max(dim=1), 8 + 16),
    "to": (lambda: X.to(torch.float64), 192),
    "new_empty": (lambda: X.new_empty(5), 20),
    "conv": (lambda: F.conv2d(IMAGES, torch.zeros(4, 3, 3, 3), padding=1), 2048 + 432),
    "dropout keeps a mask": (lambda: F.dropout(X, 0.5), 192),
    # Output, and the mean and the inverse deviation of 3 channels.
    "batch_norm": (lambda: F.batch_norm(IMAGES, None, None, training=True), 1536 + 24),
    "foreach": (lambda: torch._foreach_add([X, X], 1.0), 192),
    "sparse": (lambda: torch.sparse_coo_tensor([[0, 1]], [1.0, 2.0], (3,), check_invariants=False), 16 + 8),
    "wrapper subclass": (lambda: (PAIR + 1, PAIR + 2), 384),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_every_result_counts(name: str, guard: Callable[[], torch.no_grad]) -> None:
    operation, size = OPERATIONS[name]
    with guard():
        profile = measure_memory(operation, parameters=[], inputs=[X, IMAGES])
    assert profile.peak_bytes - X.nbytes - IMAGES.nbytes == size


def test_storages_that_shrink_and_grow_count_with_their_present_size() -> None:
    def step() -> None:
        y = torch.zeros(100)
        y.untyped_storage().resize_(0)
        y.view(100)  # first sight of the new size
        torch.zeros(50)

    assert measure_memory(step, parameters=[]).peak_bytes == 400

    def grow() -> None:
        y = torch.zeros(10)
        y.resize_(100)
        torch.zeros(50)

    assert measure_memory(grow, parameters=[]).peak_bytes == 600


def test_sparse_gradients_are_gradients() -> None:
    table = nn.Embedding(100, 8, sparse=True)
    tokens = torch.tensor([1, 2, 3])
    sizes = measure_memory(
        lambda: table(tokens).sum().backward(), parameters=table.parameters(), inputs=[tokens], modules=[table]
    ).breakdown_bytes
    assert sizes["gradients"] == 3 * 8 + 3 * 8 * 4  # indices and rows


class Block(nn.Module):
    """A transformer block without dropout; all its kernels allocate their results and nothing else."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x_BTD)).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTD = x_BTD + self.out(attended.transpose(1, 2).flatten(2))
        return x_BTD + self.mlp(x_BTD)


@pytest.mark.parametrize("learns", [True, False], ids=["first order", "forward only"])
def test_peak_is_what_an_allocator_profiler_sees(learns: bool) -> None:
    """The reference runs the same step unmetered and adds up every allocation and release of torch's CPU allocator."""
    tokens = torch.arange(96).view(4, 24)
    model = nn.Sequential(nn.Embedding(96, 32), Block(32), Block(32), nn.Linear(32, 96))

    def step() -> None:
        with torch.set_grad_enabled(learns):
            loss = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
            if learns:
                loss.backward()
        model.zero_grad(set_to_none=True)

    held = sum(parameter.nbytes for parameter in model.parameters()) + tokens.nbytes
    metered = measure_memory(step, parameters=model.parameters(), inputs=[tokens], modules=[model])
    assert metered.peak_bytes - held == allocator_peak(step)


def allocator_peak(step: Callable[[], None]) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak
