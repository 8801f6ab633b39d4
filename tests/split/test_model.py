import pytest
import torch
from torch import nn

from heron.errors import SplitError
from heron.split import SplitModel, cut


def test_forward_is_the_server_after_the_client():
    client, server = nn.Linear(3, 2), nn.Linear(2, 4)
    inputs = torch.randn(5, 3)
    assert torch.equal(SplitModel(client, server)(inputs), server(client(inputs)))


def test_children_are_named_by_role_and_the_auxiliary_may_be_missing():
    split = SplitModel(nn.Linear(3, 2), nn.Linear(2, 4))
    assert [name for name, _ in split.named_children()] == ["client", "server"]
    assert split.auxiliary is None
    assert split.smashed_shape is None
    split.auxiliary = nn.Linear(2, 1)
    assert dict(split.named_children())["auxiliary"] is split.auxiliary


def test_joined_state_dict_loads_into_the_uncut_network():
    torch.manual_seed(0)

    def network():
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))

    split = cut(network(), after="2.0", example=torch.zeros(2, 4), auxiliary=nn.Linear(3, 2))
    fresh = network()
    result = fresh.load_state_dict(split.joined_state_dict())
    assert not result.missing_keys
    assert not result.unexpected_keys
    inputs = torch.randn(3, 4)
    assert torch.equal(fresh.eval()(inputs), split.eval()(inputs))


def test_joined_state_dict_prefixes_names_that_both_parts_use():
    split = SplitModel(nn.Linear(3, 2), nn.Linear(2, 4))
    names = {"client.weight", "client.bias", "server.weight", "server.bias"}
    assert split.joined_state_dict().keys() == names


@pytest.mark.parametrize("same_names", [True, False])
def test_load_joined_state_dict_is_the_inverse(same_names):
    def build():
        if same_names:
            return SplitModel(nn.Linear(3, 2), nn.Linear(2, 4))
        return cut(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4)), after="0", example=torch.zeros(1, 3))

    first, second = build(), build()
    second.load_joined_state_dict(first.joined_state_dict())
    inputs = torch.randn(2, 3)
    assert torch.equal(first(inputs), second(inputs))


def test_load_joined_state_dict_refuses_what_does_not_fit_and_changes_nothing():
    split = SplitModel(nn.Linear(3, 2), nn.Linear(2, 4))
    before = {name: tensor.clone() for name, tensor in split.joined_state_dict().items()}
    other = {name: tensor + 1 for name, tensor in before.items()} | {"server.bias": torch.zeros(5)}
    with pytest.raises(SplitError, match=r"server\.bias.*expected shape \(4,\), found \(5,\)"):
        split.load_joined_state_dict(other)
    assert all(torch.equal(before[name], tensor) for name, tensor in split.joined_state_dict().items())


@pytest.mark.parametrize("role", ["client", "server", "auxiliary"])
def test_a_part_that_is_no_module_is_refused(role):
    parts = {"client": nn.Identity(), "server": nn.Identity(), "auxiliary": nn.Identity(), role: torch.relu}
    with pytest.raises(SplitError, match=f"nn.Module as {role} part"):
        SplitModel(**parts)
