"""A small convolutional network for 8x8 digits with a narrow cut: 16 floats of smashed data per example.

At a narrow cut the client's training matters; at a wide one a random client is nearly as good as a trained one.
Input (B, 1, 8, 8); after `relu3` z is (B, 4, 2, 2).
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from heron.split.arguments import check_count
from heron.split.cut import cut
from heron.split.family import ModelFamily
from heron.split.heads import linear_head
from heron.split.model import SplitModel


@dataclass(frozen=True)
class DigitsCnn(ModelFamily):
    """Small CNN for 8x8 digits with a narrow cut.

    Attributes:
        model: `digits_cnn`.
        cut: layer after which the network is cut.
    """

    model: Literal["digits_cnn"] = "digits_cnn"
    cut: str = "relu3"

    def network(self, *, random_weights: bool = False) -> SplitModel:  # noqa: ARG002 - all are random
        """Make the cut network. Arguments as of `ModelFamily.network`."""
        return digits_cnn(cut_layer=self.cut)


def digits_cnn(*, cut_layer: str = "relu3", num_classes: int = 10) -> SplitModel:
    """Three convolutions and two fully connected layers, cut, with a linear auxiliary network.

    Layers in order: conv1 (1-8), relu1, conv2 (8-16, stride 2), relu2, conv3 (16-4, stride 2), relu3, flatten, fc1
    (16-64), relu4, fc2 (64-C); convolutions are 3x3 with padding 1. At the default cut the client has 1,828
    parameters, the auxiliary network 17 C and the server 1,088 + 65 C.

    Args:
        cut_layer: last layer of the client part, conv1 to relu4.
        num_classes: C, at least 1.

    Returns:
        The cut network; inputs of shape (B, 1, 8, 8), outputs (B, C).

    Raises:
        SplitError: if an argument is out of range.
    """
    check_count("num_classes", num_classes)

    def relu(after: str) -> nn.ReLU:
        # In place wherever no other module needs the input; auxiliary network and server both need the smashed data.
        return nn.ReLU(inplace=after != cut_layer)

    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 8, 3, padding=1),
            relu1=relu("conv1"),
            conv2=nn.Conv2d(8, 16, 3, stride=2, padding=1),
            relu2=relu("conv2"),
            conv3=nn.Conv2d(16, 4, 3, stride=2, padding=1),
            relu3=relu("conv3"),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16, 64),
            relu4=relu("fc1"),
            fc2=nn.Linear(64, num_classes),
        )
    )
    return cut(
        network,
        after=cut_layer,
        example=torch.zeros(1, 1, 8, 8),
        auxiliary=lambda shape: linear_head(shape, num_classes),
    )
