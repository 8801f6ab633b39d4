"""Train any module from losses alone, without federation."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.zo import Adam, Estimator, ZerothOrder

torch.manual_seed(0)
inputs = torch.randn(256, 10)
labels = (inputs.sum(dim=1) > 0).long()

model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 2))
optimizer = ZerothOrder(model, rule=Adam(learning_rate=1e-2), estimator=Estimator(num_probes=4), seed=0)
for step in range(200):
    loss = optimizer.step(lambda: cross_entropy(model(inputs), labels))
    if step % 50 == 49:
        print(f"step {step + 1}: loss {float(loss):.3f}")
