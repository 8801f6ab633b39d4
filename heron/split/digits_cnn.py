"""A small CNN for 8x8 digits whose smashed data is 16 floats (ALGORITHMS 4b).

A narrow cut makes uploads small and client learning matter: a random client part loses what the server would need.
"""

from collections import OrderedDict

import torch
from torch import nn

from heron.split.cut import cut
from heron.split.heads import linear_head
from heron.split.model import SplitModel


def digits_cnn(*, cut_layer: str = "relu3", num_classes: int = 10) -> SplitModel:
    """Three convolutions (1-8, 8-16 stride 2, 16-4 stride 2) and two fully connected layers.

    Args:
        cut_layer: last layer of the client: `conv1`, `relu1`, `conv2`, ..., `relu3`, `flatten`, `fc1`, `relu4`.
        num_classes: C.

    Returns:
        At the default cut: inputs (1, 8, 8), smashed data (4, 2, 2), a linear head as auxiliary network.

    Raises:
        SplitError: if the cut layer does not exist or leaves the server nothing to train.
    """
    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 8, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(8, 16, 3, stride=2, padding=1),
            relu2=nn.ReLU(),
            conv3=nn.Conv2d(16, 4, 3, stride=2, padding=1),
            relu3=nn.ReLU(),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16, 64),
            relu4=nn.ReLU(),
            fc2=nn.Linear(64, num_classes),
        )
    )
    return cut(
        network,
        cut_layer,
        example=torch.zeros(1, 1, 8, 8),
        auxiliary=lambda shape: linear_head(shape, num_classes),
    )
