"""The long parts of `gpu.py`: client memory of GPT2-Medium, and ResNet-18 on CIFAR-10 by every algorithm."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from gpu_parts import Setting, median_s
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.config import build_federation, load_splits, plan_cost, recipe_config
from heron.config.schema import RunConfig
from heron.costs.client_step import local_step, step_cost
from heron.data import Splits
from heron.engines.in_process import Federation
from heron.errors import HeronError
from heron.runs.evaluation import evaluate
from heron.split import SplitModel

LANGUAGE = ("heron", "frozen", "cse_fsl", "sflv2")
# Most telling first: heron and its ends, layer-local learning, the rest of the registry.
FIRST = ("heron", "frozen", "cse_fsl", "local", "sflv2")
CLASSES = 10


def gpt2_medium(setting: Setting) -> Iterator[dict[str, Any]]:
    """Measure a client step of each algorithm: the allocator's peak, the meter's, and the time."""
    recipe, changes = "e2e-gpt2-medium", ["data.max_length=512"]
    if setting.toy:
        recipe, changes = "e2e-gpt2", ["split.cut=1", "data.max_length=16", "client.batch_size=2"]
    rows: list[dict[str, Any]] = []
    for name in LANGUAGE:
        if setting.left_s() <= 0:
            break
        config = recipe_config(recipe, name, [*changes, f"device={setting.device.type}"])
        rows.append({"algorithm": name, **_client_step(config, setting)})
        yield {"recipe": recipe, "set": changes, "rows": rows}


def _client_step(config: RunConfig, setting: Setting) -> dict[str, Any]:
    """A step on random weights and zeros; the server's part, which is here too, is taken off the allocator's peak."""
    split = config.split.build(config.seed, random_weights=True).to(setting.device)
    row, example = ALGORITHMS[config.algorithm], config.data.example
    step = local_step(split, row, config, example, config.split.criterion)
    step()  # an exact client has no optimiser state before its first step
    found: dict[str, Any] = {"planned_peak_bytes": plan_cost(config).peak_memory_bytes}
    if setting.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        found["allocator_peak_bytes"] = torch.cuda.max_memory_allocated() - _of_server_alone(split)
    else:
        found["allocator_peak_bytes"] = None
        found["skipped"] = "allocator_peak_bytes: the processor's allocator tells no peak"
    found["metered_peak_bytes"] = step_cost(step).peak_memory_bytes
    found["seconds_per_step"] = median_s(setting, step, 1 if setting.toy else 5)
    return found


def _of_server_alone(split: SplitModel) -> int:
    """Bytes of the storages that the server's part does not share with the client's or the auxiliary network."""
    parts = [split.client] if split.auxiliary is None else [split.client, split.auxiliary]
    held = {tensor.untyped_storage().data_ptr() for part in parts for tensor in _tensors(part)}
    alone = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in _tensors(split.server)}
    return sum(storage.nbytes() for place, storage in alone.items() if place not in held)


def _tensors(part: nn.Module) -> list[Tensor]:
    return [*part.parameters(), *part.buffers()]


def resnet18(setting: Setting) -> Iterator[dict[str, Any]]:
    """Train every algorithm, an epoch of each in turn, as long as there is time; the test split is read each epoch."""
    changes = [f"device={setting.device.type}"]
    if setting.toy:
        changes += ["split.width=4", "client.batch_size=8", "clients.total=2", "estimator.candidates=64"]
    names = [*FIRST, *(name for name in ALGORITHMS if name not in FIRST)]
    configs = {name: recipe_config("cifar10-resnet18", name, changes) for name in names}
    splits, source = _images(configs["heron"], setting)
    if setting.device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    facts = {
        "data": source,
        "batch": configs["heron"].client.batch_size,
        "precision": {
            "tf32": setting.device.type == "cuda",
            "bf16": False,
            "channels_last": "server part, where there is one; a client's parameters are views of a flat vector",
        },
    }
    rows: dict[str, dict[str, Any]] = {}
    parties: dict[str, Federation] = {}
    for epoch in range(1 if setting.toy else configs["heron"].rounds):
        for name in names:
            row = rows.setdefault(name, {"algorithm": name, "test_accuracy": [], "seconds": []})
            last = row["seconds"][-1] if row["seconds"] else 0.0
            if setting.left_s() <= last:
                continue
            try:
                parties[name] = parties.get(name) or _federation(configs[name], splits)
                _epoch(parties[name], splits, row)
            except (HeronError, torch.cuda.OutOfMemoryError) as error:
                row["failed"] = f"epoch {epoch + 1}: {error}"
            yield {**facts, "rows": list(rows.values())}
        if setting.left_s() <= min((row["seconds"][-1] for row in rows.values() if row["seconds"]), default=0.0):
            return


def _images(config: RunConfig, setting: Setting) -> tuple[Splits, str]:
    """CIFAR-10, or without it random images, of which only times say something."""
    if not setting.toy:
        try:
            return load_splits(config), "cifar10"
        except HeronError as error:
            reason = f"random images, accuracy means nothing: {error}"
    else:
        reason = "random images, accuracy means nothing"
    generator = torch.Generator().manual_seed(0)

    def drawn(count: int) -> TensorDataset:
        return TensorDataset(torch.randn(count, 3, 32, 32, generator=generator), torch.arange(count) % CLASSES)

    count = 32 if setting.toy else 5_120
    return Splits(drawn(count), drawn(10), drawn(count // 2), num_classes=CLASSES), reason


def _federation(config: RunConfig, splits: Splits) -> Federation:
    federation = build_federation(config, splits)
    if config.device == "cuda":
        torch.backends.cudnn.deterministic = False
        torch.backends.cudnn.benchmark = True
        federation.split.server.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return federation


def _epoch(federation: Federation, splits: Splits, row: dict[str, Any]) -> None:
    """Run a round, which is an epoch of every client's data, and add what it reaches."""
    started = time.perf_counter()
    federation.run_round()
    if federation.settings.device == "cuda":
        torch.cuda.synchronize()
    row["seconds"].append(round(time.perf_counter() - started, 3))
    model, criterion = federation.load_global_model(), federation.servers.criterion
    found = evaluate(model, splits.test, criterion, device=torch.device(federation.settings.device))
    assert found is not None  # there are test images
    row["test_accuracy"].append(found.accuracy)
