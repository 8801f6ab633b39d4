"""What becomes of each buffer of a client between rounds, by what a training pass does to it."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import heron
from heron.errors import SplitError, TrainingError
from heron.split import SplitModel, check_trainable
from heron.split.buffer_kinds import buffer_kinds, is_unit
from heron.split.untouched import same_bits

INPUTS = torch.linspace(-1, 1, 24).reshape(6, 4)
DATA = TensorDataset(torch.linspace(-1, 1, 240).reshape(60, 4), torch.arange(60) % 2)


class Keeper(nn.Module):
    """A linear layer with a buffer, and what a training pass does to it."""

    def __init__(self, value, change=None, *, persistent=True):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(4, 4)
        self.register_buffer("kept", value, persistent=persistent)
        self._change = change
        self.passes = 0

    def forward(self, inputs):
        self.passes += 1
        if self.training and self._change is not None:
            self._change(self)
        return torch.relu(self.fc(inputs))


def replace(layer):
    layer.kept = layer.kept * 0.5


def behind_the_back(layer):
    layer.kept.data.mul_(0.5)


def turn(layer):
    layer.kept.copy_(nn.functional.normalize(layer.kept + torch.tensor([0.1, 0.0]), dim=0))


def kind(client):
    (found,) = buffer_kinds(nn.ModuleDict({"client": client}), INPUTS).items()
    assert found[0] == "client.kept"
    return found[1]


@pytest.mark.parametrize(
    "value",
    [
        torch.full((2, 2), float("-inf")).triu(1),
        torch.full((2, 2), torch.finfo(torch.float32).min),
        torch.tensor([float("nan")]),
        torch.tensor([True, False]),
        torch.arange(5),
        torch.ones(2, dtype=torch.complex64),
        torch.tensor([0.6, 0.8]),
    ],
    ids=lambda value: str(value.tolist()),
)
def test_what_no_pass_changes_is_constant_whatever_it_holds(value):
    assert kind(Keeper(value)) == "constant"


@pytest.mark.parametrize("change", [lambda layer: layer.kept.mul_(0.5), replace, behind_the_back])
def test_what_a_pass_changes_is_a_statistic(change):
    client = Keeper(torch.tensor([0.6, 0.8]), change)
    kept = client.kept
    assert kind(client) == "statistic"
    assert client.kept is kept
    assert same_bits(kept, torch.tensor([0.6, 0.8]))
    assert client.training


def test_what_a_pass_writes_with_the_same_values_is_a_statistic():
    assert kind(Keeper(torch.zeros(2), lambda layer: layer.kept.mul_(0.5))) == "statistic"


def test_one_integer_is_a_counter():
    assert kind(Keeper(torch.tensor(3), lambda layer: layer.kept.add_(1))) == "statistic"


def test_a_vector_that_keeps_length_1_is_a_unit():
    assert kind(Keeper(torch.tensor([0.6, 0.8]), turn)) == "unit"


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_the_vectors_of_spectral_norm(norm):
    torch.manual_seed(0)
    kinds = buffer_kinds(nn.ModuleDict({"client": norm(nn.Linear(4, 3))}), INPUTS)
    assert set(kinds.values()) == {"unit"}
    assert len(kinds) == 2


def test_batch_norm_needs_no_pass():
    kinds = buffer_kinds(nn.ModuleDict({"client": nn.BatchNorm1d(4)}), torch.zeros(0))
    assert kinds == dict.fromkeys(
        ("client.running_mean", "client.running_var", "client.num_batches_tracked"), "statistic"
    )


@pytest.mark.parametrize(
    ("value", "change", "found"),
    [
        (torch.tensor([True, False]), lambda layer: layer.kept.logical_not_(), r"bool of shape \(2,\)"),
        (torch.zeros(3, dtype=torch.int64), lambda layer: layer.kept.add_(1), r"int64 of shape \(3,\)"),
        (torch.zeros(1, dtype=torch.complex64), lambda layer: layer.kept.add_(1), r"complex64 of shape \(1,\)"),
        (torch.tensor([float("inf"), 1.0]), lambda layer: layer.kept.mul_(0.5), "NaN or infinity"),
        (torch.ones(2), lambda layer: layer.kept.div_(0.0), "NaN or infinity"),
    ],
)
def test_what_has_no_mean_is_refused(value, change, found):
    with pytest.raises(SplitError, match=rf"found {found} in 'client.kept'; keep it in a plain attribute"):
        kind(Keeper(value, change))


def split_of(client):
    torch.manual_seed(1)
    return SplitModel(client, nn.Linear(4, 2), nn.Linear(4, 2))


def test_what_training_changes_outside_the_state_dict_is_refused():
    client = Keeper(torch.ones(2), lambda layer: layer.kept.mul_(0.5), persistent=False)
    with pytest.raises(SplitError, match="client changes the buffer 'kept', which is not; register"):
        check_trainable(split_of(client), INPUTS)
    check_trainable(split_of(Keeper(torch.ones(2), persistent=False)), INPUTS)


def test_a_cache_outside_the_state_dict_may_change_its_size():
    def grow(layer):
        layer.kept = torch.ones(len(layer.kept) + 1)

    check_trainable(split_of(Keeper(torch.ones(2), grow, persistent=False)), INPUTS)


def train(keeper, algorithm="heron", **changes):
    changes = {"clients": {"total": 3}, "rounds": 2, "client": {"batch_size": 8}} | changes
    return heron.train(split_of(keeper), DATA, algorithm=algorithm, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"update": "scalars", "client": {"batch_size": 8, "keep_state": False}},
        {"algorithm": "sflv1"},
        *(
            pytest.param(changes, marks=pytest.mark.slow)
            for changes in (
                {},
                {"update_codec": "fp16"},
                {"update_codec": "int8", "wire": True},
                {"fed_server": {"aggregation": "median"}},
                {"fed_server": {"optimizer": "adam"}},
                {"fed_server": {"max_norm": 0.1}},
                {"algorithm": "cse_fsl"},
                {"algorithm": "fsl_sage"},
                {"algorithm": "fedavg"},
                {"algorithm": "frozen"},
            )
        ),
    ],
    ids=str,
)
def test_masks_stay_as_they_are_and_are_not_sent_back(changes):
    mask = torch.full((5, 5), float("-inf")).triu(1)
    mask[4, 0] = torch.finfo(torch.float32).min
    result = train(Keeper(mask.clone()), **changes)
    assert same_bits(result.model.client.kept, mask)
    without = train(Keeper(mask.clone(), persistent=False), **changes)
    # Names and shapes in headers are framing.
    assert result.uplink_bytes_by_kind.get("model", 0) == without.uplink_bytes_by_kind.get("model", 0)
    assert result.metrics[-1]["train_loss"] == without.metrics[-1]["train_loss"]


def test_a_statistic_of_the_user_s_own_is_averaged():
    def follow(layer):
        layer.kept.mul_(0.5).add_(1e20)  # no bound of updates applies

    result = train(Keeper(torch.zeros(2), follow))
    assert bool((result.model.client.kept > 1e20).all())


def test_a_statistic_that_is_not_finite_is_refused_by_its_name():
    def late(layer):
        layer.kept.fill_(float("inf") if layer.passes > 40 else 0.0)

    with pytest.raises(TrainingError, match=r"found NaN or infinity in 'client.kept' from client . in round"):
        train(Keeper(torch.zeros(2), late), rounds=20)


def test_a_buffer_that_changes_later_is_refused():
    def late(layer):
        if layer.passes > 40:
            layer.kept.fill_(1.0)

    with pytest.raises(TrainingError, match=r"expected the buffer 'client.kept' to stay as it is"):
        train(Keeper(torch.zeros(2), late), rounds=20)


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
@pytest.mark.parametrize("algorithm", ["heron", "cse_fsl", "sflv1"])
def test_vectors_of_spectral_norm_keep_their_length(norm, algorithm):
    torch.manual_seed(0)
    client, server, head = (norm(nn.Linear(4, 4)) for _ in range(3))
    split = SplitModel(nn.Sequential(client, nn.ReLU()), nn.Sequential(server, nn.ReLU(), nn.Linear(4, 2)), head)
    rates = {"client": {"batch_size": 8, "learning_rate": 0.3}, "server": {"learning_rate": 0.3}}
    result = heron.train(split, DATA, algorithm=algorithm, clients={"total": 4}, rounds=2, **rates)
    parts = [result.model.client, *([] if algorithm == "sflv1" else [result.model.auxiliary])]
    vectors = [buffer for part in (*parts, result.model.server) for buffer in part.buffers()]
    assert len(vectors) >= 4
    assert all(is_unit(vector) for vector in vectors)


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_parametrised_weights_are_averaged_as_they_are_parametrised(norm):
    torch.manual_seed(0)
    split = SplitModel(nn.Sequential(norm(nn.Linear(4, 4)), nn.ReLU()), nn.Linear(4, 2), nn.Linear(4, 2))
    result = heron.train(split, DATA, clients={"total": 3}, rounds=2)
    assert result.metrics[-1]["train_loss"] < 0.8
