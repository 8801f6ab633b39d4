"""Robust means and bounds for the Fed Server, if some of a round's replies may be wrong on purpose.

Coordinate-wise median and trimmed mean: "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
Yin, Chen, Ramchandran, Bartlett, ICML 2018 (arXiv 1803.01498), Definitions 1 and 2. Norm bound: "Can You Really
Backdoor Federated Learning?", Sun, Kairouz, Suresh, McMahan, 2019 (arXiv 1911.07963), section 4.

`n` replies of a round.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from heron.errors import ConfigError
from heron.wire.averaging import RunningMean
from heron.wire.groups import AggregationMethod

_SLACK = 1e-9  # makes 0.07 of 100 replies 7, despite floating point
_COLUMNS = 1 << 20  # number of coordinates that are sorted at a time


class Aggregator(Protocol):
    """Accumulator that makes one model of those added to it."""

    def add(self, tensors: Mapping[str, Tensor], weight: float) -> None:
        """Add one model.

        Args:
            tensors: a model by name.
            weight: its weight in the mean, > 0.
        """
        ...

    def take(self) -> dict[str, Tensor]:
        """The model made of those added since the last call; empty if there were none."""
        ...


@dataclass(frozen=True)
class Aggregation:
    """Rule by which replies become one model; the default is the weighted mean without a bound.

    Attributes:
        method: `mean`, or `median` or `trimmed_mean`, each per coordinate and with equal weights.
        trim: share of replies that a trimmed mean drops at either end, in [0, 0.5), rounded up to whole replies.
        max_norm: largest Euclidean norm of a reply's change of all trained tensors together; a larger change is scaled
            down to it. 0 for no bound. Statistics and counters (`buffers`) are not bounded.
        max_scalar: largest absolute value of a projected gradient in a reply of scalars; larger values are clipped to
            it. 0 for no bound.

    Raises:
        ConfigError: if a value is out of range.
    """

    method: AggregationMethod = "mean"
    trim: float = 0.1
    max_norm: float = 0.0
    max_scalar: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.trim < 0.5:
            raise ConfigError(f"expected fed_server.trim in [0, 0.5), found {self.trim}")
        for name, value in (("max_norm", self.max_norm), ("max_scalar", self.max_scalar)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"expected fed_server.{name} >= 0, found {value}")

    def aggregator(self) -> Aggregator:
        """A new accumulator for this rule."""
        if self.method == "mean":
            return RunningMean()
        return OrderStatistics(0.5 if self.method == "median" else self.trim)

    @torch.no_grad()
    def bounded(self, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], bool]:
        """Scale tensors so that their change has a norm of at most `max_norm`; returns whether it was larger.

        Args:
            tensors: trained tensors by name; not changed.
            start: the tensors before the change; may contain more.
        """
        if not self.max_norm:
            return tensors, False
        norm = math.hypot(*(float((_wide(tensors, name) - _wide(start, name)).norm()) for name in tensors))
        if norm <= self.max_norm:
            return tensors, False
        share = self.max_norm / norm
        bounded: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            before = _wide(start, name)
            bounded[name] = (before + (_wide(tensors, name) - before) * share).to(tensor.dtype)
        return bounded, True

    def bounded_scalars(self, scalars_P: NDArray[Any]) -> tuple[NDArray[Any], bool]:
        """Clip projected gradients, shape (P,), to at most `max_scalar`; returns whether one was larger."""
        if not (self.max_scalar and len(scalars_P)) or float(abs(scalars_P).max()) <= self.max_scalar:
            return scalars_P, False
        return scalars_P.clip(-self.max_scalar, self.max_scalar), True


class OrderStatistics:
    """Mean per coordinate of the values that remain after the smallest and the largest are dropped.

    Keeps every reply until `take`. For one or two replies it is their mean, since no outlier can be identified. Integer
    tensors (BatchNorm's `num_batches_tracked`) become their middle value, the lower of two.

    Args:
        trim: share dropped at either end, in [0, 0.5]; one or two values always remain, so 0.5 is the median.
    """

    def __init__(self, trim: float) -> None:
        self._trim = trim
        self._replies: list[dict[str, Tensor]] = []

    def add(self, tensors: Mapping[str, Tensor], weight: float) -> None:
        """Add one model.

        Args:
            tensors: tensors by name; every call with the same names and shapes.
            weight: ignored, because a client could claim any number of examples.
        """
        del weight
        self._replies.append({name: tensor.detach().clone() for name, tensor in tensors.items()})

    @torch.no_grad()
    def take(self) -> dict[str, Tensor]:
        """The mean of the models added since the last call; empty if there were none."""
        replies, self._replies = self._replies, []
        if not replies:
            return {}
        return {name: self._middle([reply.pop(name) for reply in replies]) for name in list(replies[0])}

    def _middle(self, tensors: list[Tensor]) -> Tensor:
        middle = (len(tensors) - 1) // 2
        num_cut = min(math.ceil(self._trim * len(tensors) - _SLACK), middle)
        result = torch.empty_like(tensors[0], memory_format=torch.contiguous_format)
        pieces = zip(*(torch.split(tensor.reshape(-1), _COLUMNS) for tensor in tensors), strict=True)
        for target, values in zip(torch.split(result.view(-1), _COLUMNS), pieces, strict=True):
            ordered = torch.stack(values).sort(dim=0).values
            is_float = ordered.dtype.is_floating_point
            target.copy_(ordered[num_cut : len(ordered) - num_cut].mean(dim=0) if is_float else ordered[middle])
        return result


def _wide(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """A tensor in a dtype in which no difference of two finite values overflows."""
    return tensors[name].double()
