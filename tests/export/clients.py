"""Small clients that are exported in tests, and their terms."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.client.onnx_runtime import Bundle
from heron.data import Batch
from heron.engines.agreement import agree
from heron.export import make_bundle
from heron.split import SplitModel, pooled_linear_head
from heron.wire.groups import Settings
from heron.wire.terms import Terms
from tests.settings import changed

CLASSES = 5


def norm_net(**conv: Any) -> SplitModel:
    """Trainable: conv, BatchNorm, conv, BatchNorm; average pooling by windows that do not divide the map."""
    torch.manual_seed(0)
    client = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, **conv),
        nn.BatchNorm2d(6, momentum=None),
        nn.ReLU(),
    )
    server = nn.Sequential(nn.Flatten(), nn.Linear(6 * 25, CLASSES))
    return SplitModel(client, server, pooled_linear_head((6, 5, 5), CLASSES))


def group_net() -> SplitModel:
    """Trainable: conv, GroupNorm, conv; nothing in it couples examples."""
    torch.manual_seed(0)
    client = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Tanh(), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU()
    )
    server = nn.Sequential(nn.Flatten(), nn.Linear(6 * 25, CLASSES))
    return SplitModel(client, server, pooled_linear_head((6, 5, 5), CLASSES))


def batch(size: int = 6, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 2, 10, 10, generator=generator)
    return Batch(inputs, torch.randint(0, CLASSES, (size,), generator=generator))


def terms_of(split: SplitModel, algorithm: str, criterion: Any = cross_entropy, **changes: Any) -> Terms:
    if len(ALGORITHMS[algorithm].optimizers) == 1:
        changes |= {"optimizer": ALGORITHMS[algorithm].optimizers[0]}
    settings = changed(Settings(threads=1), **changes)
    return agree(split, ALGORITHMS[algorithm], settings, criterion, batch())


def exported(split: SplitModel, algorithm: str = "heron", criterion: Any = cross_entropy, **changes: Any) -> Bundle:
    """A bundle that has passed the comparison with PyTorch."""
    return make_bundle(split, terms_of(split, algorithm, criterion, **changes), batch(), criterion=criterion)[0]


def with_classes(bundle: Bundle) -> Bundle:
    """The bundle of a recipe, whose terms say how many classes there are."""
    upload = replace(bundle.terms.upload, num_classes=CLASSES)
    return replace(bundle, terms=replace(bundle.terms, upload=upload), manifest=replace(bundle.manifest, upload=upload))
