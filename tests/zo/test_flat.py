"""Flat parameters: the module sees `work`, probes never touch `theta`, nothing but trainable tensors moves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from heron.errors import MessageError
from heron.zo import DISTRIBUTIONS, SGD, FlatParameters, ZerothOrder, direction
from heron.zo.stream import Distribution
from tests.reference.problems import bits, conv_net, same_bits, state_bits


def setup_module() -> None:
    torch.set_num_threads(1)


def test_module_keeps_its_values_and_becomes_views_of_work() -> None:
    net, _ = conv_net()
    identities, before = [id(parameter) for parameter in net.parameters()], state_bits(net)
    flat = FlatParameters(net)
    assert same_bits(state_bits(net), before)
    assert [id(parameter) for parameter in net.parameters()] == identities
    assert len(flat) == sum(parameter.numel() for parameter in net.parameters())
    flat.work.zero_()
    assert all(not parameter.any() for parameter in net.parameters())
    assert flat.theta.any()


@settings(max_examples=40, deadline=None)
@given(shapes=st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_named_tensors_are_the_parameters(shapes: list[list[int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    module = nn.ParameterList([torch.randn(shape, generator=generator) for shape in shapes])
    flat = FlatParameters(module)
    named = flat.named_tensors()
    assert list(named) == [name for name, _ in module.named_parameters()]
    assert all(named[name].equal(parameter) for name, parameter in module.named_parameters())
    assert all(view.untyped_storage().data_ptr() == flat.theta.data_ptr() for view in named.values())
    assert flat.theta.equal(torch.cat([parameter.detach().reshape(-1) for parameter in module]))


def test_non_contiguous_parameters_keep_their_values() -> None:
    module = nn.ParameterList([torch.arange(6.0).view(2, 3).T, torch.arange(3.0)])
    flat = FlatParameters(module)
    assert module[0].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert flat.named_tensors()["0"].equal(module[0])


def test_frozen_parameters_stay_where_they_are() -> None:
    net, loss_fn = conv_net()
    net[0].weight.requires_grad_(False)
    address, before = net[0].weight.data_ptr(), bits(net[0].weight)
    optimizer = ZerothOrder(net, rule=SGD(0.1))
    for _ in range(3):
        optimizer.step(loss_fn)
    assert "0.weight" not in optimizer.flat.named_tensors()
    assert len(optimizer.flat) == sum(p.numel() for p in net.parameters() if p is not net[0].weight)
    assert net[0].weight.data_ptr() == address
    assert torch.equal(bits(net[0].weight), before)
    assert not net[0].weight.requires_grad


def test_tied_parameters_count_once_and_move_together() -> None:
    encoder, decoder = nn.Linear(3, 3), nn.Linear(3, 3)
    decoder.weight = encoder.weight
    net = nn.Sequential(encoder, decoder)
    optimizer = ZerothOrder(net, rule=SGD(0.1))
    assert len(optimizer.flat) == 9 + 3 + 3
    before = bits(encoder.weight)
    optimizer.step(lambda: net(torch.ones(2, 3)).square().sum())
    assert decoder.weight is encoder.weight
    assert not torch.equal(bits(encoder.weight), before)
    with optimizer.flat.perturbed(1, 0.5):
        difference = decoder.weight - optimizer.flat.named_tensors()["0.weight"]
        assert torch.allclose(difference.abs(), torch.full((3, 3), 0.5))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_perturbed_is_theta_plus_scaled_direction(distribution: Distribution, dtype: torch.dtype) -> None:
    net, _ = conv_net(dtype)
    flat = FlatParameters(net)
    # Narrower types round the sum alone.
    wide = flat.theta.to(torch.promote_types(dtype, torch.float32))
    u = direction(9, 0, len(flat), distribution=distribution, like=wide)
    before = state_bits(net)
    with flat.perturbed(9, 1e-2, distribution):
        assert flat.work.equal((wide + u * 1e-2).to(dtype))
        assert not same_bits(state_bits(net), before)
    assert same_bits(state_bits(net), before)
    with pytest.raises(KeyError), flat.perturbed(9, 1e-2, distribution):
        raise KeyError
    assert same_bits(state_bits(net), before)


@pytest.mark.parametrize("perturbed", [False, True])
def test_load_writes_theta_and_work(perturbed: bool) -> None:
    (net, _), (other, _) = conv_net(seed=0), conv_net(seed=1)
    flat = FlatParameters(net)
    if perturbed:
        flat.perturb_(3, 1.0)
    # Order is no part of the contract: names decide.
    flat.load_(dict(reversed(list(other.named_parameters()))))
    assert all(map(_kept, net.parameters(), other.parameters()))
    assert flat.work.equal(flat.theta)
    assert not flat.theta.requires_grad


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "empty"])
def test_load_refuses_before_it_writes(change: str) -> None:
    (net, _), (other, _) = conv_net(seed=0), conv_net(seed=1)
    flat = FlatParameters(net)
    before = bits(flat.theta), bits(flat.work)
    tensors = dict(other.named_parameters())
    if change == "missing":
        del tensors["4.bias"]
    elif change == "unknown":
        tensors["5.bias"] = nn.Parameter(torch.zeros(3))
    elif change == "shape":
        tensors["4.weight"] = nn.Parameter(tensors["4.weight"].detach().T)
    else:
        tensors = {}
    with pytest.raises(MessageError, match="expected shape") as caught:
        flat.load_(tensors)
    assert "\n" not in str(caught.value)
    assert torch.equal(bits(flat.theta), before[0])
    assert torch.equal(bits(flat.work), before[1])


def test_adding_and_subtracting_in_place_would_change_weights() -> None:
    """Why there are two copies: at mu = 1e-3 a 3x3 convolution of 64 channels loses about 4% of its float32 weights.

    A weight changes where `w + mu u` lies k > 0 binades above `w`: it is rounded to 2^k steps of `w`, so that of 2^k
    weights one comes back. That share is known from the exponents alone.
    """
    generator = torch.Generator().manual_seed(0)
    bound = (64 * 3 * 3) ** -0.5  # torch's default, uniform in +-1/sqrt(fan-in)
    weight = torch.empty(64, 64, 3, 3).uniform_(-bound, bound, generator=generator)
    module = nn.ParameterList([weight.clone()])
    flat, u, mu = FlatParameters(module), direction(1, 0, weight.numel(), like=weight), 1e-3

    def binade(values: torch.Tensor) -> torch.Tensor:
        return torch.frexp(values.double()).exponent

    climbed = (binade(weight.view(-1).double() + mu * u) - binade(weight.view(-1))).clamp(min=0)
    expected = (1.0 - 0.5**climbed).mean()

    in_place = weight.view(-1).clone().add_(mu * u).sub_(mu * u)
    share = (in_place != weight.view(-1)).double().mean()
    assert 0.035 < share < 0.055
    assert abs(share - expected) < 0.01

    with flat.perturbed(1, mu):
        pass
    assert torch.equal(bits(flat.work), bits(weight))
    assert torch.equal(bits(flat.theta), bits(weight))


def _kept(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal up to the step of 1e-30 itself, which zeros (biases) show."""
    return torch.allclose(found, expected, rtol=0, atol=1e-25)


def test_loaded_state_dict_is_what_the_next_step_starts_from() -> None:
    """`state_dict` goes on working, says the class: so must its counterpart."""
    (net, loss_fn), (other, _) = conv_net(seed=0), conv_net(seed=1)
    optimizer = ZerothOrder(net, rule=SGD(1e-30))
    net.load_state_dict(other.state_dict())
    optimizer.step(loss_fn)
    assert all(map(_kept, net.parameters(), other.parameters()))


def test_first_order_steps_between_are_kept() -> None:
    """Optimisers go on working, says the class: what they did must outlive the next zeroth-order step."""
    net, loss_fn = conv_net()
    optimizer = ZerothOrder(net, rule=SGD(1e-30))
    loss_fn().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    expected = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer.step(loss_fn)
    assert all(map(_kept, net.parameters(), expected))
