"""Train a network and a data set of your own, federated, in one call."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, TensorDataset

from heron.algorithms import ALGORITHMS
from heron.config import check_choice
from heron.costs.settings import FederationSettings
from heron.data import Splits, labels_of, partition
from heron.engines.in_process import Federation
from heron.errors import ConfigError
from heron.runs.run_directory import Metrics, RunDirectory
from heron.runs.run_loop import Run
from heron.server.fed_adam import FedAdam
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.wire import CODECS, Codec, SmashedCodec
from heron.wire.learning import ClientSettings, Update
from heron.zo import Estimator
from heron.zo.rules import OptimizerName

Examples = Dataset[tuple[Tensor, ...]]


@dataclass(frozen=True)
class TrainResult:
    """Outcome of `train`.

    Attributes:
        model: the cut network with the global parameters; call it as the whole network.
        metrics: one row per round.
        uplink_bytes_by_kind: encoded bytes from clients to servers.
        downlink_bytes_by_kind: encoded bytes from servers to clients.
    """

    model: SplitModel
    metrics: list[Metrics]
    uplink_bytes_by_kind: dict[str, int]
    downlink_bytes_by_kind: dict[str, int]


def train(
    split: SplitModel,
    dataset: Examples,
    *,
    test: Examples | None = None,
    algorithm: str = "heron",
    clients: int = 5,
    rounds: int = 20,
    partition_kind: Literal["iid", "dirichlet"] = "iid",
    alpha: float = 0.5,
    batch_size: int = 32,
    micro_batch: int | None = None,
    local_steps: int | None = None,
    upload_period: int = 1,
    smashed_codec: Codec = "fp32",
    update: Update = "dense",
    optimizer: OptimizerName = "adam",
    client_learning_rate: float = 1e-3,
    server_learning_rate: float = 1e-3,
    estimator: Estimator | None = None,
    fed_optimizer: FedAdam | None = None,
    criterion: Criterion = cross_entropy,
    seed: int = 0,
    device: str = "cpu",
    out: Path | None = None,
    observe: Callable[[Metrics], None] = lambda _: None,
) -> TrainResult:
    """Train a cut network across simulated clients.

    Args:
        split: the network, cut with `heron.split.cut` or put together as a `SplitModel`; trained in place.
        dataset: training examples (input, label), shared out among the clients.
        test: examples to evaluate after each round; none by default.
        algorithm: key of `heron.algorithms.ALGORITHMS`.
        clients: number of clients, N.
        rounds: number of rounds, T.
        partition_kind: `"iid"`, or `"dirichlet"` for label skew.
        alpha: concentration of the Dirichlet partition, > 0.
        batch_size: examples per local step, B.
        micro_batch: examples per forward pass; None for the whole batch.
        local_steps: local steps per round, h; None for one pass over each client's data.
        upload_period: local steps per upload of smashed data, k.
        smashed_codec: how smashed data are written: `"fp32"`, `"fp16"`, `"int8"`, `"int4"` or `"dither6"`.
        update: how zeroth-order learning travels: `"dense"`, as tensors, or `"scalars"`, as projected gradients; with
            these, optimisers start afresh every round.
        optimizer: update rule of the clients.
        client_learning_rate: eta_l.
        server_learning_rate: eta_s, of the Main Server's Adam.
        estimator: probes of zeroth-order clients.
        fed_optimizer: what the Fed Server makes of the averaged update; None for plain averaging.
        criterion: mean loss over a batch.
        seed: seed of everything random after the network was built.
        device: torch device.
        out: run directory for metrics and checkpoints; a run interrupted there is continued.
        observe: called with each round's metrics.

    Returns:
        The trained network and what happened.

    Raises:
        HeronError: if a value, the data, the partition or the cut does not work out.

    Examples:
        See `examples/own_model.py`.
    """
    check_choice("algorithm", algorithm, ALGORITHMS)
    check_choice("smashed_codec", smashed_codec, CODECS)
    if rounds < 1 or batch_size < 1 or upload_period < 1:
        counts = f"{rounds}, {batch_size} and {upload_period}"
        raise ConfigError(f"expected rounds, batch_size and upload_period of at least 1, found {counts}")
    settings = FederationSettings(
        seed=seed,
        batch_size=batch_size,
        micro_batch=micro_batch,
        local_steps=local_steps,
        upload_period=upload_period,
        codec=SmashedCodec(smashed_codec),
        client=ClientSettings(
            optimizer,
            client_learning_rate,
            keep_state=update == "dense",
            estimator=estimator or Estimator(),
            update=update,
        ),
        fed_optimizer=fed_optimizer,
        server_learning_rate=server_learning_rate,
        device=device,
    )
    labels = labels_of(dataset)
    shares = partition(partition_kind, labels, num_clients=clients, alpha=alpha, seed=seed)
    federation = Federation(split, ALGORITHMS[algorithm], dataset, shares, settings, criterion)
    nothing = TensorDataset(torch.empty(0), torch.empty(0))
    run = Run(
        federation,
        Splits(train=dataset, validation=nothing, test=test or nothing, num_classes=len(np.unique(labels))),
        rounds=rounds,
        directory=None if out is None else RunDirectory(out),
        fingerprint=f"{algorithm} {clients} {partition_kind} {alpha} {settings}",
    )
    run.restore()
    metrics = run.train(observe)
    ledger = federation.ledger
    return TrainResult(federation.load_global_model(), metrics, ledger.by_kind("uplink"), ledger.by_kind("downlink"))
