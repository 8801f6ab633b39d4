import pytest
import torch
from torch import nn

from heron.errors import SplitError
from heron.split import build_seeded, check_trainable, digits_cnn

LAYERS = ["conv1", "relu1", "conv2", "relu2", "conv3", "relu3", "flatten", "fc1", "relu4"]
SHAPES = [(8, 8, 8)] * 2 + [(16, 4, 4)] * 2 + [(4, 2, 2)] * 2 + [(16,), (64,), (64,)]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_smashed_data_is_16_floats_and_the_sizes_are_those_of_the_layers():
    split = digits_cnn()
    assert split.smashed_shape == (4, 2, 2)
    # 3x3 convolutions 1-8, 8-16, 16-4; a linear head on 16 floats; fully connected 16-64-10.
    assert count(split.client) == (9 * 1 + 1) * 8 + (9 * 8 + 1) * 16 + (9 * 16 + 1) * 4 == 1828
    assert count(split.auxiliary) == (16 + 1) * 10
    assert count(split.server) == (16 + 1) * 64 + (64 + 1) * 10 == 1088 + 650


@pytest.mark.parametrize(("cut_layer", "shape"), list(zip(LAYERS, SHAPES, strict=True)))
def test_every_cut_gives_the_same_function_and_can_be_trained(cut_layer, shape):
    split = build_seeded(lambda: digits_cnn(cut_layer=cut_layer, num_classes=7), 3)
    reference = build_seeded(lambda: digits_cnn(num_classes=7), 3)
    inputs = torch.rand(5, 1, 8, 8)
    assert split.smashed_shape == shape
    assert split.client(inputs).shape == (5, *shape)
    assert split.auxiliary(split.client(inputs)).shape == (5, 7)
    assert torch.equal(split(inputs), reference(inputs))
    check_trainable(split, inputs, micro_batch=2)


def test_activations_are_in_place_unless_they_come_first_after_the_cut():
    split = digits_cnn(cut_layer="conv2")
    flags = {name: layer.inplace for name, layer in split.named_modules() if isinstance(layer, nn.ReLU)}
    assert flags == {"client.relu1": True, "server.relu2": False, "server.relu3": True, "server.relu4": True}


def test_bad_arguments_are_refused():
    with pytest.raises(SplitError, match="did you mean 'relu3'"):
        digits_cnn(cut_layer="relu_3")
    with pytest.raises(SplitError, match="nothing to train"):
        digits_cnn(cut_layer="fc2")
    for wrong in (0, -1, 2.5, "ten"):
        with pytest.raises(SplitError, match="num_classes to be an integer"):
            digits_cnn(num_classes=wrong)
