"""Uploads of labels and smashed data that are changed: counted, the same each time, told with no claim."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.cli.main import main
from heron.data import Batch
from heron.engines.exposure import exposure, uploads_per_example
from heron.engines.in_process import Federation
from heron.errors import ConfigError, DataError, HeronError
from heron.privacy import Secret
from heron.privacy.vault import Vault
from heron.report.privacy import exposure_cells, exposure_note
from heron.split import SplitModel, linear_head
from heron.wire import SmashedData, unpack_upload
from heron.wire.groups import Client, Clients, Settings
from heron.wire.messages import PackedData
from tests.settings import changed

SIZES = (12, 16, 20)
PLAIN = Settings(
    rounds=3, threads=1, clients=Clients(total=3), client=Client(batch_size=4, learning_rate=1e-2, keep_state=False)
)


def federation(
    name: str = "frozen", data: Any = None, vault: Vault | None = None, shares: Any = None, **changes: Any
) -> Federation:
    torch.manual_seed(0)
    split = SplitModel(
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(32, 3)),
        linear_head((2, 4, 4), 3),
    )
    data = data or TensorDataset(torch.randn(48, 1, 4, 4), torch.arange(48) % 3)
    shares = shares or np.split(np.arange(48), np.cumsum(SIZES)[:-1])
    return Federation(split, ALGORITHMS[name], data, shares, changed(PLAIN, **changes), vault=vault)


def uploads_of(parties: Federation, rounds: int) -> list[SmashedData]:
    found = []
    parties.listeners.append(
        lambda message, _: found.append(message) if isinstance(message, SmashedData | PackedData) else None
    )
    for _ in range(rounds):
        parties.run_round()
    return [unpack_upload(one) if isinstance(one, PackedData) else one for one in found]


def by_example(uploads: list[SmashedData]) -> dict[bytes, list[int]]:
    """Labels of each upload, by the bytes of the example's smashed data: the frozen client's do not change."""
    found: dict[bytes, list[int]] = {}
    for upload in uploads:
        for smashed, label in zip(np.asarray(upload.smashed), np.asarray(upload.labels).tolist(), strict=True):
            found.setdefault(smashed.tobytes(), []).append(label)
    return found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 3.0),
        ({"local_steps": 6}, 6.0),  # 24 of 12 examples a round
        ({"local_steps": 6, "upload_period": 4}, 2.0),
        ({"local_steps": 3, "batch_size": 16}, 9.0),  # the smallest has 12
        ({"batch_size": 5}, 3.0),
        ({"batch_size": 5, "upload_period": 2}, 3 * 10 / 16),  # of 5, 5, 5 and 1: those of the second client
    ],
)
def test_uploads_are_counted(changes: dict[str, Any], expected: float) -> None:
    parties = federation(**changes)
    assert uploads_per_example(parties.algorithm, parties.settings, SIZES) == expected
    counted = [0, 0, 0]
    for upload in uploads_of(parties, 3):
        counted[upload.client_id] += len(upload.labels)
    assert max(count / size for count, size in zip(counted, SIZES, strict=True)) == expected


def test_clients_that_are_drawn_count_the_rounds_that_they_are_in() -> None:
    chosen = changed(PLAIN, clients={"per_round": 1})
    assert uploads_per_example(ALGORITHMS["heron"], chosen, SIZES) in (1.0, 2.0, 3.0)
    assert uploads_per_example(ALGORITHMS["decomfl"], chosen, SIZES) == 0.0
    assert exposure(ALGORITHMS["decomfl"], chosen, SIZES) == {}
    shown = changed(chosen, privacy={"label_epsilon": 2.0})
    assert exposure(ALGORITHMS["decomfl"], shown, SIZES) == {"label_epsilon": 2.0}


@pytest.mark.parametrize("codec", ["fp32", "fp16"])
def test_an_example_has_one_noise_and_one_label_in_all_its_uploads(codec: str) -> None:
    changes = {"smashed": {"clip": 2.0, "noise": 0.3, "codec": codec}, "privacy": {"label_epsilon": 1.0}, "wire": True}
    found = by_example(uploads_of(federation(**changes), 3))
    assert len(found) == 48
    assert all(len(labels) == 3 and len(set(labels)) == 1 for labels in found.values())
    plain = by_example(uploads_of(federation(), 1))
    assert not plain.keys() & found.keys()


def test_the_client_learns_from_the_labels_that_it_shows() -> None:
    """A run on data with these labels, without epsilon, is the same: nothing else sees the true ones."""
    data = TensorDataset(torch.randn(48, 1, 4, 4), torch.arange(48) % 3)
    parties = federation("heron", data, Vault(Secret(bytes(32))), privacy={"label_epsilon": 1.0})
    shown = torch.cat(
        [
            torch.as_tensor(
                parties_batch(parties, client_id, np.arange(size)).labels,
            )
            for client_id, size in enumerate(SIZES)
        ]
    )
    assert not torch.equal(shown, data.tensors[1])
    other = federation("heron", TensorDataset(data.tensors[0], shown))
    for _ in range(2):
        parties.run_round()
        other.run_round()
    for name, tensor in other.fed_server.global_model().items():
        assert torch.equal(parties.fed_server.global_model()[name], tensor)


@pytest.mark.parametrize(
    ("label", "found"), [(-100, "found -100 and 1 such labels in all"), (3, "found 3 and 1 such labels in all")]
)
def test_a_label_that_is_no_class_is_refused_before_anything_starts(label: int, found: str) -> None:
    """Wherever in the data it is; what no client holds may have any."""
    labels = torch.arange(48) % 3
    labels[37] = label
    data = TensorDataset(torch.randn(48, 1, 4, 4), labels)
    with pytest.raises(DataError, match=rf"expected integer labels from 0 to 2 .*{found}.*leave these examples out"):
        federation("heron", data, privacy={"label_epsilon": 1.0})
    federation("heron", data, privacy={"label_epsilon": 1.0}, shares=[np.arange(12), np.arange(12, 36)])
    federation("heron", data)


def test_a_device_refuses_a_label_that_is_no_class_when_it_is_used() -> None:
    """It may have data that no server has seen."""
    from heron.client.obfuscation import Obfuscation

    parties = federation("heron", privacy={"label_epsilon": 1.0})
    veil = Obfuscation(parties.clients.terms, parties.vault)
    with pytest.raises(DataError, match=r"client 4: expected labels from 0 to 2 with privacy\.label_epsilon"):
        veil.batch(Batch(torch.zeros(2, 1), torch.tensor([0, -100])), 4, np.arange(2))


def parties_batch(parties: Federation, client_id: int, positions: np.ndarray) -> Any:
    from heron.client.obfuscation import Obfuscation

    plain = parties.clients.data(client_id).batch(positions, 0)
    return Obfuscation(parties.clients.terms, parties.vault).batch(plain, client_id, positions)


def test_what_is_told_claims_nothing_for_noise() -> None:
    parties = federation(smashed={"clip": 2.0, "noise": 0.3}, privacy={"label_epsilon": 4.0})
    told = parties.servers.exposure
    assert told["uploads_per_example"] == 3.0
    assert told["label_epsilon"] == 4.0
    noise = told["smashed_noise"]
    # One Gaussian mechanism of sensitivity 2 clips: at this noise an upload alone has an epsilon beyond use.
    assert 100 < noise["epsilon_of_one_upload"] < 200
    assert noise["noise_if_it_were_drawn_for_each_upload_and_averaged"] == pytest.approx(0.3 / 3**0.5)
    assert noise["claim"].startswith("none")
    cells = exposure_cells({"exposure": told})
    assert cells["epsilon of one upload, no claim"].startswith("1")
    assert "guarantees nothing" in exposure_note({"exposure": told})
    assert exposure_note({"exposure": {"uploads_per_example": 3.0}}) == ""
    assert exposure_cells({}) == {}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("heron", {"smashed": {"noise": 0.1}}, r"expected smashed\.clip above 0 with smashed\.noise, found 0"),
        ("sflv2", {"smashed": {"clip": 1.0}}, r"smashed\.noise=0 with sflv2.*its clients wait for answers"),
        ("hosl", {"smashed": {"clip": 1.0}}, r"smashed\.noise=0 with hosl.*its clients wait for answers"),
        ("decomfl", {"smashed": {"clip": 1.0}}, r"smashed\.noise=0 with decomfl.*its clients upload nothing"),
    ],
)
def test_settings_that_obscure_nothing_are_refused(name: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as refusal:
        federation(name, **changes)
    assert "\n" not in str(refusal.value)


def test_labels_that_are_no_classes_are_refused() -> None:
    data = TensorDataset(torch.randn(48, 1, 4, 4), torch.full((48,), 7))
    with pytest.raises(DataError, match=r"expected labels from 0 to 2 with privacy\.label_epsilon, found others"):
        federation("heron", data, privacy={"label_epsilon": 1.0})
    floats = TensorDataset(torch.randn(48, 1, 4, 4), torch.rand(48))
    with pytest.raises(HeronError, match=r"expected one class of each example with privacy\.label_epsilon"):
        federation("frozen", floats, privacy={"label_epsilon": 1.0})


@pytest.mark.slow
def test_the_table_after_a_run_has_them(tmp_path, capsys) -> None:
    changes = ["rounds=1", "smashed.clip=2", "smashed.noise=0.3", "privacy.label_epsilon=4"]
    assert main(["train", "digits", *(part for one in changes for part in ("--set", one)), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "uploads of an example" in shown
    assert "guarantees nothing" in shown
    assert main(["report", str(tmp_path)]) == 0
    assert "<h2>Uploads</h2>" in (tmp_path / "report.html").read_text()
