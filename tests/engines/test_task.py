"""What does not fit is told in one line before the first round, and what fits is left as it is."""

import functools
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

from heron.algorithms import ALGORITHMS
from heron.data import Splits
from heron.engines.task import check_task
from heron.errors import HeronError
from heron.split import SplitModel
from heron.wire.groups import Client, Settings

CE, BCE, MSE = functional.cross_entropy, nn.BCEWithLogitsLoss(), nn.MSELoss()
NOTHING = TensorDataset(torch.empty(0), torch.empty(0))
INPUTS = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(12) % 3


def own(outputs, labels):
    return CE(outputs, labels)


def network(outputs: int, *, auxiliary: int | None = None, client: nn.Module | None = None) -> SplitModel:
    torch.manual_seed(0)
    first = client or nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
    return SplitModel(first, nn.Linear(5, outputs), nn.Linear(5, auxiliary or outputs))


def check(split, labels, criterion=CE, inputs=INPUTS, algorithm="heron", test=NOTHING, micro_batch=0):
    data = labels if isinstance(labels, Dataset) else TensorDataset(inputs, labels)
    splits = Splits(data, NOTHING, test, num_classes=0)
    settings = Settings(client=Client(micro_batch=micro_batch))
    check_task(split, ALGORITHMS[algorithm], criterion, splits, settings)


def refusal(*args, **keywords) -> str:
    with pytest.raises(HeronError) as caught:
        check(*args, **keywords)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("expected ")
    return message


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16])
def test_classes_of_every_integer_type_fit(dtype):
    check(network(3), CLASSES.to(dtype))
    check(network(2), CLASSES > 0)


@pytest.mark.parametrize(
    ("outputs", "labels", "criterion"),
    [
        (3, torch.where(CLASSES == 1, -100, CLASSES), CE),
        (3, torch.where(CLASSES == 1, 255, CLASSES), nn.CrossEntropyLoss(ignore_index=255)),
        (3, CLASSES, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0, 1.0]), label_smoothing=0.1)),
        (3, torch.eye(3)[CLASSES], CE),
        (1, (CLASSES[:, None] > 0).float(), BCE),
        (4, (INPUTS[:, :4] > 0).float(), BCE),
        (1, INPUTS[:, :1], MSE),
        (1, INPUTS[:, 0], lambda outputs, labels: functional.mse_loss(outputs.squeeze(1), labels)),
        (3, CLASSES, nn.MultiMarginLoss()),
        (3, CLASSES, functools.partial(CE, label_smoothing=0.1)),
        (3, torch.tensor([0, 7, 90] * 4), lambda outputs, labels: (outputs.mean(1) - labels).abs().mean()),  # counts
        (2, CLASSES, lambda outputs, labels: outputs.cov().mean()),  # examples depend on each other
    ],
)
def test_what_fits_is_accepted_and_nothing_changes(outputs, labels, criterion):
    split = network(outputs)
    before = {name: tensor.clone() for name, tensor in split.state_dict().items()}
    generator = torch.get_rng_state()
    check(split, labels, criterion)
    assert split.training
    assert all(torch.equal(split.state_dict()[name], tensor) for name, tensor in before.items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in split.modules())


@pytest.mark.parametrize(
    ("outputs", "labels", "criterion", "found", "advice"),
    [
        (3, CLASSES + 1, CE, "0 to 2 for the 3 outputs of the server, found 3 in training example 2", "more"),
        (3, CLASSES - 1, CE, "found -1 in training example 0 and others in 3 more", "does not count by -100"),
        (3, torch.where(CLASSES == 1, -100, CLASSES), nn.CrossEntropyLoss(ignore_index=0), "found -100", "by 0"),
        (3, CLASSES + 1, own, "IndexError: Target 3 is out of", "change the"),
        (3, CLASSES.float(), CE, "found shape (3,) and type float32", "make classes integers: labels.long()"),
        (3, CLASSES[:, None], CE, "found shape (3, 1) and type int64", "labels.squeeze(1)"),
        (3, torch.eye(3)[CLASSES].long(), CE, "and type int64", "labels.float()"),
        (1, torch.zeros(12, dtype=torch.int64), CE, "found 1, whose loss is always 0", "BCEWithLogitsLoss"),
        (1, CLASSES.float(), BCE, "and type float32", "labels.unsqueeze(1)"),
        (1, INPUTS[:, 0], MSE, "and type float32", "labels.unsqueeze(1)"),
        (1, INPUTS[:, 0], lambda outputs, labels: ((outputs - labels) ** 2).mean(), "type float32", "unsqueeze(1)"),
        (1, INPUTS[:, :3], MSE, "found shape", "change the labels"),
        (1, INPUTS[:, :1], lambda outputs, labels: (outputs - labels).mean() / 0, "finite loss", "range"),
        (2, INPUTS[:, :2].where(INPUTS[:, :2] != INPUTS[5, 0], torch.nan), MSE, "nan in training example 5", "repair"),
        (3, CLASSES, nn.CrossEntropyLoss(reduction="none"), "one number as the loss of CrossEntropyLoss", "'mean'"),
        (3, CLASSES, nn.CrossEntropyLoss(reduction="sum"), "found their sum", "reduction='mean'"),
        (3, CLASSES, lambda outputs, labels: CE(outputs, labels).item(), "found float", "without .item()"),
        (3, CLASSES, lambda outputs, labels: CE(outputs.detach(), labels), "can be differentiated", "operations"),
        (3, CLASSES, lambda outputs: outputs.mean(), "TypeError", "change the labels, the criterion"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(outputs, labels, criterion, found, advice):
    message = refusal(network(outputs), labels, criterion)
    assert found in message
    assert advice in message.partition(";")[2]


def test_the_auxiliary_network_is_tried_where_clients_have_one():
    message = refusal(network(3, auxiliary=2), CLASSES)
    assert "0 to 1 for the 2 outputs of the auxiliary network, found 2 in training example 2" in message
    check(network(3, auxiliary=2), CLASSES, algorithm="sflv2")
    check(network(3, auxiliary=5), CLASSES)
    assert "of the auxiliary network of shape" in refusal(network(1, auxiliary=2), INPUTS[:, :1], MSE)


def test_micro_batches_need_a_loss_that_they_divide():
    def coupled(outputs, labels):
        return (outputs - outputs.mean(0)).square().mean()

    check(network(3), CLASSES, coupled)
    message = refusal(network(3), CLASSES, coupled, micro_batch=2)
    assert "expected a mean over examples from coupled with micro-batches (of 2), found" in message
    check(network(3), CLASSES, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0, 1.0])), micro_batch=2)


@pytest.mark.parametrize("form", ["tokens", "each"])
def test_tokens_beyond_the_vocabulary(form):
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 5)

        def forward(self, tokens):
            return self.embedding(tokens).mean(1)

    tokens = torch.randint(10, (12, 4), generator=torch.Generator().manual_seed(0))
    check(network(3, client=Mean()), CLASSES, inputs=tokens)
    tokens[7, 2] = 10 if form == "tokens" else -1
    message = refusal(network(3, client=Mean()), CLASSES, inputs=tokens)
    assert "tokens from 0 to 9 for the embedding 'embedding' of the client, found" in message
    assert "in training example 7; enlarge the embedding" in message


def test_inputs_that_are_not_finite_unless_the_network_copes():
    class Filled(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs.nan_to_num())

    inputs = INPUTS.clone()
    inputs[9, 3] = torch.nan
    assert "found NaN or infinity in training example 9" in refusal(network(3), CLASSES, inputs=inputs)
    check(network(3, client=Filled(6, 5)), CLASSES, inputs=inputs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8])
def test_inputs_of_another_type_are_refused_with_what_to_do(dtype):
    message = refusal(network(3), CLASSES, inputs=INPUTS.abs().to(dtype))
    assert f"on {str(dtype).removeprefix('torch.')} of shape" in message
    assert "convert the inputs to float32" in message


def test_test_examples_are_looked_at_too():
    test = TensorDataset(INPUTS, torch.where(torch.arange(12) == 10, 3, CLASSES))
    assert "found 3 in test example 10" in refusal(network(3), CLASSES, test=test)

    class Lazy(Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, position):
            return INPUTS[position], int(CLASSES[position]) + (position == 11)

    assert "found 3 in test example 11" in refusal(network(3), CLASSES, test=Lazy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_losses_of_other_precision_are_means_too(dtype):
    check(network(1).to(dtype), INPUTS[:, :1].to(dtype), MSE, INPUTS.to(dtype))
    check(network(3).to(dtype), CLASSES, inputs=INPUTS.to(dtype), micro_batch=2)
    assert "found their sum" in refusal(
        network(3).to(dtype), CLASSES, nn.CrossEntropyLoss(reduction="sum"), INPUTS.to(dtype)
    )


def test_nothing_to_train_on():
    assert "at least 1 training example, found an empty data set" in refusal(network(3), NOTHING)


def test_a_warning_of_torch_is_no_longer_needed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refusal(network(1), INPUTS[:, 0], MSE)
