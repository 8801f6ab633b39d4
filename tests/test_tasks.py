"""`heron.train` on tasks of every kind: loss always, accuracy where labels are classes, a user's measures."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import heron
from heron.errors import ConfigError, DataError, HeronError
from heron.split import SplitModel, cut, linear_head

START = heron.Settings(rounds=1, threads=1, clients=heron.Clients(total=3), client=heron.Client(batch_size=8))
INPUTS = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS.sum(1) > 0).long()
IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1))
PIXELS = (IMAGES.sum(1) > 0).long()
BCE, CE, MSE = nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss(), nn.MSELoss()


def dense(outputs: int) -> SplitModel:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs))
    return cut(network, after="1", example=INPUTS[:2], auxiliary=lambda shape: linear_head(shape, outputs))


def pixelwise(outputs: int) -> SplitModel:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, outputs, 1))
    return cut(network, after="1", example=IMAGES[:2], auxiliary=nn.Conv2d(8, outputs, 1))


def trained(split: SplitModel, labels: Tensor, inputs: Tensor = INPUTS, **changes) -> tuple[heron.TrainResult, Tensor]:
    """Result, and the outputs of the trained network."""
    data = TensorDataset(inputs, labels)
    result = heron.train(split, data, test=data, settings=START, **changes)
    with torch.no_grad():
        return result, result.model.eval()(inputs)


@pytest.mark.parametrize(
    ("make", "outputs", "inputs", "labels", "criterion"),
    [
        (dense, 1, INPUTS, CLASSES[:, None].float(), BCE),
        (dense, 1, INPUTS, INPUTS.sum(1, keepdim=True), MSE),
        (dense, 3, INPUTS, INPUTS[:, :3], MSE),
        (dense, 4, INPUTS, (INPUTS[:, :4] > 0).float(), BCE),
        (dense, 2, INPUTS, torch.eye(2)[CLASSES], CE),
        (pixelwise, 3, IMAGES, IMAGES, MSE),
    ],
)
@pytest.mark.parametrize("algorithm", ["heron", "cse_fsl", "sflv2", "fedavg", "hosl"])
def test_labels_that_are_no_classes_have_a_loss_alone(algorithm, make, outputs, inputs, labels, criterion) -> None:
    result, found = trained(make(outputs), labels, inputs, criterion=criterion, algorithm=algorithm)
    assert result.metrics[-1]["test_loss"] == pytest.approx(float(criterion(found, labels)), rel=1e-5)
    assert "test_accuracy" not in result.metrics[-1]


@pytest.mark.parametrize(
    ("make", "outputs", "inputs", "labels"),
    [
        (dense, 2, INPUTS, CLASSES),
        (dense, 2, INPUTS, CLASSES.to(torch.int32)),
        (dense, 2, INPUTS, CLASSES > 0),
        (dense, 2, INPUTS, torch.where(INPUTS[:, 0] > 0, CLASSES, -100)),
        (pixelwise, 2, IMAGES, PIXELS),
        (pixelwise, 8, IMAGES, PIXELS),  # as many classes as a side has pixels
        (pixelwise, 2, IMAGES, torch.where(IMAGES[:, 0] > 0, PIXELS, -100)),
    ],
)
def test_classes_have_an_accuracy(make, outputs, inputs, labels) -> None:
    result, found = trained(make(outputs), labels, inputs, criterion=CE)
    counted = labels != -100
    correct = (found.argmax(1) == labels)[counted].float().mean()
    assert result.metrics[-1]["test_accuracy"] == pytest.approx(float(correct))
    assert result.metrics[-1]["test_loss"] == pytest.approx(float(CE(found, labels.long())), rel=1e-5)


def test_measures_of_ones_own(tmp_path) -> None:
    measures = {
        "accuracy": lambda outputs, labels: (outputs > 0) == (labels > 0.5),
        "distance": lambda outputs, labels: (outputs - labels).abs().mean(),
    }
    labels = CLASSES[:, None].float()
    result, found = trained(dense(1), labels, criterion=BCE, measures=measures, out=tmp_path / "run")
    row = result.metrics[-1]
    assert row["test_accuracy"] == pytest.approx(float(((found > 0) == (labels > 0.5)).float().mean()))
    assert row["test_distance"] == pytest.approx(float((found - labels).abs().mean()), rel=1e-5)
    with pytest.raises(ConfigError, match="expected names of measures such as 'f1', found 'loss'"):
        trained(dense(1), labels, criterion=BCE, measures={"loss": measures["distance"]})


def test_costs_of_labels_that_are_no_classes() -> None:
    """A memory budget and simulated time run the criterion on labels without values."""
    for outputs, labels, criterion in ((2, torch.eye(2)[CLASSES], CE), (1, CLASSES[:, None].float(), BCE)):
        link = {"client_gflops": 1.0, "server_gflops": 1.0}
        result, _ = trained(dense(outputs), labels, criterion=criterion, client={"memory_budget": "1MiB"}, link=link)
        assert result.metrics[-1]["simulated_s"] > 0


class Items(Dataset):
    def __init__(self, item: Callable[[int], object], count: int = 40) -> None:
        self.item, self.count = item, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> object:
        return self.item(position)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            Items(lambda i: {"x": INPUTS[i], "y": 1}),
            DataError,
            r"items \(input, label\), found dict; wrap the data set",
        ),
        (Items(lambda i: (INPUTS[i], 1, 2)), DataError, r"items \(input, label\), found tuple of length 3; wrap"),
        (TensorDataset(INPUTS, CLASSES, CLASSES), DataError, "found tuple of length 3; wrap"),
        (Items(lambda i: (INPUTS[i], 1), count=0), DataError, "at least 1 training example, found an empty data set"),
        (TensorDataset(INPUTS, CLASSES.float()), DataError, "make classes integers"),
        (TensorDataset(INPUTS.double(), CLASSES), HeronError, "convert the inputs to float32"),
        (Items(lambda i: (INPUTS[i].where(torch.tensor(i != 30), torch.nan), 1)), DataError, "in training example 30"),
        (TensorDataset(INPUTS, 2 * CLASSES), DataError, "found 2 in training example"),
    ],
)
@pytest.mark.parametrize("algorithm", ["heron", "fedavg"])
def test_data_that_do_not_fit_are_refused_in_one_line(data, error, message, algorithm) -> None:
    split = dense(2)
    before = {name: tensor.clone() for name, tensor in split.state_dict().items()}
    with pytest.raises(error, match=message) as caught:
        heron.train(split, data, settings=START, algorithm=algorithm)
    assert len(str(caught.value).splitlines()) == 1
    assert all(torch.equal(split.state_dict()[name], tensor) for name, tensor in before.items())


def test_one_class_alone_trains() -> None:
    result, _ = trained(dense(2), torch.zeros(40, dtype=torch.int64))
    assert result.metrics[-1]["test_loss"] > 0


def test_items_of_plain_numbers_and_arrays_train() -> None:
    data = Items(lambda i: (INPUTS[i].numpy(), bool(CLASSES[i])))
    first = heron.train(dense(2), data, settings=START).metrics[-1]
    second = heron.train(dense(2), TensorDataset(INPUTS, CLASSES), settings=START).metrics[-1]
    assert first["train_loss"] == second["train_loss"]


def test_dirichlet_clients_under_batchnorm() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    split = cut(network, after="2", example=INPUTS[:2], auxiliary=lambda shape: linear_head(shape, 2))
    train = functools.partial(heron.train, split, TensorDataset(INPUTS, CLASSES), settings=START)
    assert train(clients={"total": 3}, client={"batch_size": 13}).metrics[-1]["client_examples"] == 40  # 14, 13, 13
    with pytest.raises(
        DataError, match=r"expected at least 2 examples of every client, found 1 of client .*'client.1'"
    ):
        train(clients={"total": 20, "partition": "dirichlet", "alpha": 0.1})
