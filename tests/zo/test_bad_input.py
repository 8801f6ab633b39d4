"""Mistakes of the caller: the right type, one line, what was expected and what was found."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from heron.errors import ConfigError, HeronError, SplitError
from heron.zo import SGD, Adam, Estimator, FlatParameters, Momentum, ZerothOrder

NAN, INF = float("nan"), float("inf")
CONFIG_CASES: list[tuple[Callable[[], object], str]] = [
    *[
        (partial(Estimator, mu=mu), f"mu: expected a finite number above 0, found {mu}")
        for mu in (0.0, -1e-3, NAN, INF)
    ],
    *[
        (
            partial(Estimator, num_probes=n),
            f"num_probes: expected an integer of at least 1, found {n}",
        )
        for n in (0, -1)
    ],
    (partial(Estimator, distribution="sphere"), "found 'sphere'"),
    (partial(Estimator, scheme="two_sided"), "found 'two_sided'"),
    (partial(Estimator, scheme="jpv"), "did you mean 'jvp'?"),
    (
        partial(Estimator, num_probes=2.5),
        "num_probes: expected an integer of at least 1, found 2.5",
    ),
    (partial(Estimator, mu="1e-3"), "mu: expected a finite number above 0, found '1e-3'"),
    (partial(Adam, None), "learning_rate: expected a finite number above 0, found None"),
    *[
        (partial(rule, rate), f"learning_rate: expected a finite number above 0, found {rate}")
        for rule in (SGD, Momentum, Adam)
        for rate in (0.0, -0.1, NAN, INF)
    ],
    *[
        (partial(Momentum, 0.1, value), f"momentum: expected a number in [0, 1), found {value}")
        for value in (-0.1, 1.0, NAN)
    ],
    *[
        (partial(Adam, 0.1, **{name: value}), f"{name}: expected a number in [0, 1), found {value}")
        for name in ("beta1", "beta2")
        for value in (-0.1, 1.0, NAN)
    ],
    *[
        (partial(Adam, 0.1, epsilon=value), f"epsilon: expected a finite number above 0, found {value}")
        for value in (0.0, -1e-8, NAN)
    ],
]


def assert_one_line(error: HeronError, *parts: str) -> None:
    message = str(error)
    assert "\n" not in message
    for part in ("expected ", "found ", *parts):
        assert part in message


@pytest.mark.parametrize(("make", "part"), CONFIG_CASES, ids=[part for _, part in CONFIG_CASES])
def test_values_out_of_range(make: Callable[[], object], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert_one_line(caught.value, part)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"module": nn.Linear(2, 2).parameters()}, "module: expected a torch.nn.Module"),
        ({"module": None}, "module: expected a torch.nn.Module, found None"),
        ({"rule": "adam"}, "rule: expected an update rule, found 'adam'; write heron.zo.Adam(1e-3)"),
        ({"rule": Adam}, "rule: expected an update rule, found <class"),
        ({"rule": torch.optim.SGD([torch.zeros(1)], 0.1)}, "rule: expected an update rule, found SGD ("),
        ({"estimator": "central"}, "estimator: expected heron.zo.Estimator, found 'central'"),
        ({"seed": 1.5}, "seed: expected an integer"),
        ({"seed": 2**63}, "seed: expected an integer in [-9223372036854775808, 9223372036854775808)"),
        ({"kernel": "cuda"}, "expected a kernel of "),
    ],
)
def test_arguments_of_an_optimizer(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(HeronError) as caught:
        ZerothOrder(**{"module": nn.Linear(2, 2), "rule": SGD(0.1)} | arguments)
    assert_one_line(caught.value, part)


def test_values_at_the_edge_of_their_range_are_fine() -> None:
    Estimator(mu=1e-30, num_probes=1)
    Momentum(1e-30, 0.0)
    Adam(1e30, beta1=0.0, beta2=0.0, epsilon=1e-30)


def two_layers(change: Callable[[nn.Linear], object]) -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    change(net[1])
    return net


SPLIT_CASES: dict[str, tuple[nn.Module, list[str]]] = {
    "no_parameters": (nn.ReLU(), ["found none", "requires_grad"]),
    "all_frozen": (nn.Linear(2, 2).requires_grad_(False), ["found none", "requires_grad"]),
    "dtypes": (
        two_layers(lambda layer: layer.double()),
        ["torch.float32", "torch.float64", "'0.weight'", "'1.weight'"],
    ),
    "devices": (two_layers(lambda layer: layer.to("meta")), ["cpu", "meta", "'0.weight'", "'1.weight'"]),
    "complex": (nn.ParameterList([torch.zeros(2, dtype=torch.complex64)]), ["floating", "torch.complex64", "'0'"]),
}


@pytest.mark.parametrize("case", SPLIT_CASES)
@pytest.mark.parametrize("make", [FlatParameters, partial(ZerothOrder, rule=SGD(0.1))], ids=["flat", "optimizer"])
def test_modules_that_cannot_be_flattened(case: str, make: Callable[[nn.Module], object]) -> None:
    module, parts = SPLIT_CASES[case]
    before = [(id(p), p.data_ptr(), p.dtype, p.device) for p in module.parameters()]
    with pytest.raises(SplitError) as caught:
        make(module)
    assert_one_line(caught.value, *parts)
    assert [(id(p), p.data_ptr(), p.dtype, p.device) for p in module.parameters()] == before


def test_freezing_the_odd_one_out_helps() -> None:
    """What the message advises."""
    net = two_layers(lambda layer: layer.double().requires_grad_(False))
    assert len(FlatParameters(net)) == 2 * 2 + 2
