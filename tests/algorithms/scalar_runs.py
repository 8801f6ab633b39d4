"""Federations whose clients send scalars, their dense twins, and what passes between their parties."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.client.attendance import Attendance
from heron.data import Splits
from heron.engines.in_process import Federation
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from heron.split import SplitModel
from heron.wire import Message, ModelBroadcast, ScalarBroadcast, ScalarReply, SnapshotRequest
from heron.wire.groups import Client, Server, Settings
from tests.conformance.test_algorithms import CLASSES, examples, partition
from tests.settings import changed


def deep_split(width: int = 16) -> SplitModel:
    """Twelve tensors in theta_l, BatchNorm and Dropout on the client, so much theta that logs are smaller for long."""
    torch.manual_seed(0)
    block = [nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Tanh(), nn.Dropout(0.1)]
    client = nn.Sequential(*block, nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
    head = nn.Sequential(nn.Flatten(), nn.Linear(48, width), nn.Tanh(), nn.Linear(width, CLASSES))
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(48, CLASSES)), head)


GONE = Attendance(0, replies=False)
"""It drops out once it has received the broadcast."""


def clients(**changes: Any) -> Settings:
    client = Client(batch_size=8, optimizer="sgd", learning_rate=0.05, keep_state=False)
    settings = Settings(seed=3, update="scalars", digest_period=1, client=client, server=Server(learning_rate=1e-2))
    return changed(settings, **changes)


def federation(
    settings: Settings,
    *,
    algorithm: str = "heron",
    split: Callable[[], SplitModel] = deep_split,
    schedule: list[list[int]] | None = None,
    script: Mapping[tuple[int, int], Attendance] | None = None,
    dtype: torch.dtype = torch.float32,
    **changes: Any,
) -> Federation:
    """`schedule`: who takes part in each round, everybody by default; `script`: fates by (round, client)."""
    inputs, labels = examples().tensors
    dataset = TensorDataset(inputs.to(dtype), labels)
    settings = changed(settings, **changes)
    parties = Federation(split().to(dtype), ALGORITHMS[algorithm], dataset, partition(), settings)
    if script is not None:
        fates = dict(script)
        parties.clients.fate = lambda *place: fates.get(place[:2], Attendance())  # type: ignore[method-assign]
    if schedule is not None:
        parties.participants = lambda round_index: schedule[round_index]  # type: ignore[method-assign]
    return parties


def run(parties: Federation, rounds: int, directory: RunDirectory | None = None) -> Run:
    data = examples()
    splits = Splits(train=data, validation=data, test=data, num_classes=CLASSES)
    return Run(parties, splits, rounds=rounds, directory=directory)


def dense(settings: Settings) -> Settings:
    return replace(settings, update="dense")


def record(parties: Federation) -> list[Message]:
    """Every message that passes from now on, as its receiver gets it."""
    messages: list[Message] = []
    parties.listeners.append(lambda message, _: messages.append(message))
    return messages


def kinds(messages: list[Message], client_id: int | None = None) -> str:
    """The messages that matter here, one letter each: S snapshot, L log, R request, A answer of scalars."""
    letters = {ModelBroadcast: "S", ScalarBroadcast: "L", SnapshotRequest: "R", ScalarReply: "A"}
    return "".join(
        letters[type(message)]
        for message in messages
        if type(message) in letters and client_id in (None, message.client_id)
    )


def everything(parties: Federation) -> dict[str, Tensor]:
    """What an evaluation sees, what clients start from, and the Main Server's parameters and moments."""
    tensors = {f"global/{name}": tensor.clone() for name, tensor in parties.fed_server.global_model().items()}
    tensors |= {f"server/{name}": tensor.clone() for name, tensor in parties.main_server.state().items()}
    joined = parties.load_global_model().joined_state_dict()
    return tensors | {f"joined/{name}": tensor.clone() for name, tensor in joined.items()}


def learning(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Metrics without time and traffic."""
    left_out = {"elapsed_s", "uplink_bytes", "downlink_bytes"}
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


def assert_same_bits(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
