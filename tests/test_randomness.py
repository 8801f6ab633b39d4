import random

import numpy as np
import pytest
import torch
from torch import nn

from heron.errors import SplitError
from heron.split import build_seeded, has_batchnorm, is_stochastic, seeded_randomness

STOCHASTIC = [
    nn.Dropout(0.1),
    nn.Dropout1d(0.1),
    nn.Dropout2d(0.1),
    nn.Dropout3d(0.1),
    nn.AlphaDropout(0.1),
    nn.FeatureAlphaDropout(0.1),
    nn.RReLU(),
    nn.LSTM(2, 2, num_layers=2, dropout=0.1),
    nn.MultiheadAttention(2, 1, dropout=0.1),
    nn.TransformerEncoderLayer(2, 1, dropout=0.1),
    nn.FractionalMaxPool2d(2, output_size=2),
]
STILL = [
    nn.Dropout(0.0),
    nn.AlphaDropout(0.0),
    nn.RReLU(0.2, 0.2),
    nn.LSTM(2, 2),
    nn.MultiheadAttention(2, 1),
    nn.BatchNorm1d(2),
    nn.FractionalMaxPool2d(2, output_size=2, _random_samples=torch.full((1, 1, 2), 0.5)),
]


@pytest.mark.parametrize("layer", STOCHASTIC, ids=lambda layer: type(layer).__name__)
def test_layers_that_draw_are_known_at_any_depth(layer):
    assert is_stochastic(layer)
    assert is_stochastic(nn.Sequential(nn.Linear(2, 2), nn.Sequential(layer)))


@pytest.mark.parametrize("layer", STILL, ids=lambda layer: type(layer).__name__)
def test_layers_that_do_not_draw_are_known(layer):
    assert not is_stochastic(nn.Sequential(layer))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2)])
def test_every_batchnorm_is_found(layer):
    assert has_batchnorm(nn.Sequential(nn.Sequential(layer)))


def test_other_normalisations_are_no_batchnorm():
    assert not has_batchnorm(nn.Sequential(nn.GroupNorm(1, 2), nn.LayerNorm(2), nn.InstanceNorm2d(2)))


def test_masks_are_a_function_of_the_seed():
    layer, ones = nn.Dropout(0.5), torch.ones(64)

    def mask(seed):
        with seeded_randomness(seed, "cpu"):
            return layer(ones)

    assert torch.equal(mask(0), mask(0))
    assert torch.equal(mask(2**64 - 1), mask(2**64 - 1))
    assert not torch.equal(mask(0), mask(1))
    # The state outside plays no part.
    torch.manual_seed(123)
    assert torch.equal(mask(5), mask(5))
    first = mask(5)
    torch.rand(7)
    assert torch.equal(first, mask(5))


def test_the_generator_goes_on_as_if_nothing_had_happened():
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    with seeded_randomness(9, torch.device("cpu")):
        torch.rand(100)
    assert torch.equal(torch.rand(4), expected)


def test_the_generator_is_restored_when_the_body_raises():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded_randomness(9):
        torch.rand(3).reshape(4)
    assert torch.equal(before, torch.get_rng_state())


def test_blocks_nest():
    with seeded_randomness(1):
        expected = torch.rand(2), torch.rand(2)
    with seeded_randomness(1):
        first = torch.rand(2)
        with seeded_randomness(2):
            torch.rand(5)
        second = torch.rand(2)
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])


def test_python_and_numpy_are_left_alone():
    python, numpy = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002 - the one to be left alone
    with seeded_randomness(3):
        pass
    assert random.getstate() == python
    assert np.array_equal(np.random.get_state()[1], numpy)  # noqa: NPY002


def test_a_device_that_cannot_be_seeded_is_refused():
    with pytest.raises(SplitError, match="cpu or cuda device, found meta"), seeded_randomness(0, "meta"):
        pass


def test_initial_weights_depend_on_the_seed_alone():
    def build(seed):
        return build_seeded(lambda: nn.Linear(3, 2), seed).weight

    before = torch.get_rng_state()
    first = build(0)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert torch.equal(first, build(0))
    assert not torch.equal(first, build(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_cuda_generator_is_seeded_and_restored():
    before = torch.cuda.get_rng_state()
    with seeded_randomness(4, "cuda"):
        first = torch.rand(8, device="cuda")
    with seeded_randomness(4, torch.device("cuda", 0)):
        second = torch.rand(8, device="cuda")
    assert torch.equal(first, second)
    assert torch.equal(before, torch.cuda.get_rng_state())
