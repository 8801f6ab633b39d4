"""Cautions are told once: in Python as a warning, on the command line as a line."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import heron
from heron.algorithms import ALGORITHMS
from heron.cli.main import main
from heron.engines.cautions import cautions
from heron.split import SplitModel
from heron.wire.groups import Client, Clients, Settings

SCALARS = Settings(update="scalars")


def test_walks_of_single_clients_are_told() -> None:
    assert len(cautions(ALGORITHMS["heron"], SCALARS)) == 1


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
    assert cautions(ALGORITHMS["heron"], settings) == []


@pytest.mark.parametrize("name", ["cse_fsl", "sflv2", "ho_sfl", "decomfl", "fedkseed", "frozen"])
def test_algorithms_that_send_no_single_walks_are_not(name: str) -> None:
    assert cautions(ALGORITHMS[name], SCALARS) == []


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


@pytest.mark.parametrize("name", ["heron", "ho_fl", "cse_fsl", "frozen"])
@pytest.mark.parametrize("client", [Client(groups=3), Client(local_pool=2)])
def test_layer_groups_that_nobody_has_are_told(name: str, client: Client) -> None:
    (line,) = (line for line in cautions(ALGORITHMS[name], Settings(client=client)) if "changes nothing" in line)
    assert ("client.learning" in line) == (name == "heron")


@pytest.mark.parametrize(
    ("name", "client"),
    [
        ("heron", Client(groups=3, local_pool=2, learning="local_exact")),
        ("heron", Client(groups=3, local_pool=2, learning="local_zeroth_order")),
        ("local", Client(groups=3, local_pool=2)),
        ("cse_fsl", Client()),
    ],
)
def test_layer_groups_that_clients_have_are_not(name: str, client: Client) -> None:
    assert cautions(ALGORITHMS[name], Settings(client=client)) == []


def test_a_recipe_brings_no_caution_about_layer_groups_of_its_own(tmp_path, capsys) -> None:
    words = ["train", "digits-published", "--set", "rounds=1", "--set", "client.local_steps=1"]
    assert main([*words, "--algorithm", "local", "--out", str(tmp_path / "local")]) == 0
    assert "changes nothing" not in capsys.readouterr().err
    assert main([*words, "--set", "client.groups=2", "--out", str(tmp_path / "heron")]) == 0
    assert capsys.readouterr().err.count("client.groups=2 changes nothing") == 1
