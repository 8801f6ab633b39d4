"""Fake tensors: the same bytes without the memory."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from heron.metering import MemoryProfile, measure_flops, measure_memory


def conv_net(dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def profiled(*, learns: bool, dropout: float) -> tuple[MemoryProfile, int, int]:
    """Profile, FLOPs and activation bytes of one training or forward-only step."""
    model = conv_net(dropout)
    images, labels = torch.zeros(6, 3, 16, 16), torch.zeros(6, dtype=torch.int64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=False)

    def state() -> list[Tensor]:
        return [entry["momentum_buffer"] for entry in optimizer.state.values()]

    def step() -> None:
        with torch.set_grad_enabled(learns):
            loss = F.cross_entropy(model(images), labels)
            if learns:
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

    profile = measure_memory(
        step,
        parameters=model.parameters(),
        buffers=model.buffers(),
        optimizer_state=state,
        inputs=[images, labels],
        modules=[model],
    )
    return profile, measure_flops(step), profile.breakdown_bytes["activations"]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("learns", [True, False], ids=["first order", "forward only"])
def test_fake_and_real_agree(learns: bool, dropout: float) -> None:
    real = profiled(learns=learns, dropout=dropout)
    with FakeTensorMode():
        fake = profiled(learns=learns, dropout=dropout)
    assert fake == real
    profile, num_flops, activations = real
    assert sum(profile.breakdown_bytes.values()) == profile.peak_bytes
    assert num_flops > 0
    assert activations > 0


def test_a_real_model_that_becomes_fake_keeps_its_flat_buffer() -> None:
    model, flat = nn.Linear(3, 5), torch.zeros(20)
    model.weight.data, model.bias.data = flat[:15].view(5, 3), flat[15:]
    with FakeTensorMode() as mode:
        model._apply(mode.from_tensor)
        x_BD = torch.empty(7, 3)
        profile = measure_memory(
            lambda: model(x_BD).sum().backward(), parameters=model.parameters(), inputs=[x_BD], modules=[model]
        )
    # The largest instant is the birth of the loss, while the map that it sums is still alive.
    assert {category: size for category, size in profile.breakdown_bytes.items() if size} == {
        "parameters": 80,
        "inputs": 84,
        "activations": 140,
        "temporaries": 4,
    }


def test_a_model_larger_than_any_memory_is_measured() -> None:
    width, batch = 1 << 20, 1 << 16
    with FakeTensorMode(), torch.no_grad():
        model = nn.Sequential(*[nn.Linear(width, width, bias=False) for _ in range(3)])
        x_BD = torch.empty(batch, width)
        profile = measure_memory(lambda: model(x_BD), parameters=model.parameters(), inputs=[x_BD], modules=[model])
    a_map = 4 * batch * width  # 256 GiB
    assert profile.breakdown_bytes["parameters"] == 3 * 4 * width**2
    assert profile.breakdown_bytes["inputs"] == a_map
    assert profile.breakdown_bytes["activations"] == 2 * a_map
