"""Train a network and a data set of your own across five simulated clients."""

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import TensorDataset, random_split

import heron
from heron.split import cut, linear_head

features, classes = (torch.from_numpy(array) for array in load_wine(return_X_y=True))
features = ((features - features.mean(dim=0)) / features.std(dim=0)).float()
train, test = random_split(TensorDataset(features, classes), [0.8, 0.2], torch.Generator().manual_seed(0))

network = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3))
split = cut(network, after="1", example=features[:2], auxiliary=lambda shape: linear_head(shape, num_classes=3))
result = heron.train(split, train, test=test, rounds=30, client={"batch_size": 16, "learning_rate": 1e-2})

print(f"test accuracy {result.metrics[-1]['test_accuracy']:.1%}, uplink bytes {result.uplink_bytes_by_kind}")
