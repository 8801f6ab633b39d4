"""What settings disclose is told once: in Python as a warning, on the command line as a line."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import heron
from heron.algorithms import ALGORITHMS
from heron.cli.main import main
from heron.engines.refusals import disclosures
from heron.split import SplitModel
from heron.wire.groups import Client, Clients, Settings

SCALARS = Settings(update="scalars")


def test_walks_of_single_clients_are_told() -> None:
    assert len(disclosures(ALGORITHMS["heron"], SCALARS)) == 1


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(update="scalars", seed_groups=2),
        Settings(update="scalars", clients=Clients(total=1)),
        Settings(update="scalars", client=Client(exact="device")),
    ],
)
def test_sums_tensors_and_a_client_alone_are_not(settings: Settings) -> None:
    assert disclosures(ALGORITHMS["heron"], settings) == []


@pytest.mark.parametrize("name", ["cse_fsl", "sflv2", "ho_sfl", "decomfl", "fedkseed", "frozen"])
def test_algorithms_that_send_no_single_walks_are_not(name: str) -> None:
    assert disclosures(ALGORITHMS[name], SCALARS) == []


@pytest.mark.parametrize("groups", [0, 1])
def test_python_warns_once(groups: int) -> None:
    split = SplitModel(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(3, 2))
    data = TensorDataset(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        heron.train(
            split,
            data,
            rounds=1,
            update="scalars",
            seed_groups=groups,
            clients={"total": 2},
            client={"optimizer": "sgd"},
            threads=1,
        )
    told = [str(warning.message) for warning in found if "seed_groups" in str(warning.message)]
    assert len(told) == (0 if groups else 1)


def test_the_command_line_says_it_once(tmp_path, capsys) -> None:
    words = ["train", "digits-published", "--out", str(tmp_path / "run")]
    for assignment in ("rounds=1", "update=scalars", "client.keep_state=false"):
        words += ["--set", assignment]
    assert main(words) == 0
    assert capsys.readouterr().err.count("scalars without seed_groups") == 1
