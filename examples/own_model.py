"""Train a network and a data set of your own across five simulated clients."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import heron
from heron.split import cut, linear_head

torch.manual_seed(0)
inputs = torch.randn(1000, 20)
data = TensorDataset(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long())
train, test = torch.utils.data.random_split(data, [800, 200])

network = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
split = cut(network, after="1", example=inputs[:2], auxiliary=lambda shape: linear_head(shape, num_classes=2))
result = heron.train(split, train, test=test, clients=5, rounds=20, client_learning_rate=1e-2)

print(f"test accuracy {result.metrics[-1]['test_accuracy']:.1%}, uplink {result.uplink_bytes_by_kind}")
