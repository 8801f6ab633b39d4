"""Update rules on NumPy arrays against those of `torch.optim`."""

import numpy as np
import pytest
import torch

from heron.client.onnx_runtime.descent import ArrayDescent

RULES = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1),
}


@pytest.mark.parametrize("rule", list(RULES))
def test_steps_are_those_of_torch(rule: str) -> None:
    """Also where the state has been put away and taken up again."""
    draw = np.random.default_rng(0)
    start = draw.standard_normal((3, 4)).astype(np.float32)
    parameter = torch.tensor(start)
    optimizer = RULES[rule]([parameter])
    arrays = {"weight": start.copy()}
    descent = ArrayDescent(arrays, rule)
    for step in range(5):
        gradient = draw.standard_normal((3, 4)).astype(np.float32)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        if step == 3:
            state = descent.state()
            descent = ArrayDescent(arrays, rule)
            descent.load_state(state)
        descent.step({"weight": gradient}, 0.1)
        np.testing.assert_allclose(arrays["weight"], parameter.numpy(), rtol=2e-6, atol=2e-6)
