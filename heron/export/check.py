"""Comparison of an exported client with the same client in PyTorch, on the spot, before anybody trusts the export."""

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from heron.algorithms import ALGORITHMS
from heron.arrays import Array, to_host
from heron.client.example_gradients import ExampleGradients
from heron.client.onnx_runtime.bundle import Bundle
from heron.client.onnx_runtime.manifest import Manifest
from heron.client.onnx_runtime.runtime import OnnxRuntime
from heron.client.runtime import Runtime
from heron.client.torch_runtime.network import Parts
from heron.data import IGNORED, Batch
from heron.errors import BundleError
from heron.seeds import StepKey, derive_seed
from heron.split.criterion import Criterion
from heron.tensors import as_tensor
from heron.wire.terms import Terms

_KEY = StepKey(0, 0, 0, 0)
_TOLERANCE = 1e-4
"""Largest difference, relative to the largest value of an array; float32 sums in another order differ by some 1e-6."""
_SURROGATE_TOLERANCE = 0.1
"""The same for the surrogate, a sum of products of both signs that can be much smaller than they are."""


def check_export(bundle: Bundle, split: Parts, terms: Terms, example: Batch, criterion: Criterion) -> None:
    """Refuse an export that computes something else than PyTorch.

    Compared are smashed data, loss, running statistics and gradients of the exact part, of a linear head those of
    single examples, too, on two sizes of a batch, of sequences of two lengths, at moved parameters and running
    statistics that are not a new network's.

    Args:
        bundle: the export.
        split: the network; stays as it is.
        terms: of the run.
        example: at least two examples.
        criterion: mean loss over a batch.

    Raises:
        BundleError: naming the value that differs.
    """
    client = replace(terms.settings.client, optimizer="sgd")  # its step is the gradient
    settings = replace(terms.settings, client=client)
    for repeat, batch in enumerate((example, _other(example, bundle.manifest.longest))):
        mine = copy.deepcopy(split)
        _move(mine, repeat, {term.name for term in (*bundle.manifest.probed, *bundle.manifest.trained)})
        runtime = ALGORITHMS[terms.algorithm].torch_runtime(mine, criterion, settings)
        exported = OnnxRuntime(bundle, client)
        model = {name: to_host(array).copy() for name, array in runtime.tensors().items()}
        _load(exported, model)
        expected, found = (dict(_values(each, batch, bundle.manifest)) for each in (runtime, exported))
        _compare(expected, found, len(batch))


def _other(example: Batch, longest: int | None) -> Batch:
    """More examples; and sequences of another length, of which two in three positions count."""
    size = len(example)
    chosen = np.resize(np.arange(size), size + size // 2 + 1)
    inputs, labels = as_tensor(example.inputs)[chosen], as_tensor(example.labels)[chosen]
    if longest is None:
        return Batch(inputs, labels)
    length = inputs.shape[1]
    other = length + length // 2 + 1 if length < longest // 2 else max(2, length - 1)
    inputs = inputs[:, np.resize(np.arange(length), min(other, longest))]
    if labels.shape[1:] != (length,):
        return Batch(inputs, labels)
    labels = inputs.roll(-1, 1)
    labels[:, ::3] = IGNORED
    return Batch(inputs, labels)


def _move(split: Parts, repeat: int, learning: Collection[str]) -> None:
    """Leave the initial values: parameters of what learns, and running statistics."""
    generator = torch.Generator().manual_seed(derive_seed("export", repeat) % 2**63)
    with torch.no_grad():
        for own in ("client", "auxiliary"):
            part = getattr(split, own, None)
            if part is None:
                continue
            part.train()
            for name, parameter in part.named_parameters(prefix=own):
                if name in learning:
                    parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
            for layer in part.modules():
                for kind in ("running_mean", "running_var"):
                    held = getattr(layer, kind, None)
                    if isinstance(held, torch.Tensor):
                        held.add_(torch.rand(held.shape, generator=generator))


def _load(exported: OnnxRuntime, model: Mapping[str, NDArray[Any]]) -> None:
    theta = exported.theta
    if theta is not None:
        theta.load_({name: model[name] for name in theta.named_tensors()})
    if exported.exact is not None:
        exported.exact.load(model, {})
    exported.load_buffers_(model)


def _values(runtime: Runtime, batch: Batch, manifest: Manifest) -> Iterator[tuple[str, Array]]:
    """Values of a step, by what they are."""
    if manifest.linear_head:
        assert isinstance(runtime.exact, ExampleGradients)  # in both runtimes
        yield "losses of single examples", runtime.losses(batch, 0)
        yield "gradients of single examples", np.concatenate([*map(to_host, runtime.exact.example_gradients(batch))])
    if runtime.exact is not None:
        clean = runtime.exact.forward(batch, _KEY)
        yield "smashed data", clean.take_smashed()
        finished = clean.finish()
        assert finished.loss is not None  # an exported exact part has a loss
        yield "loss", finished.loss
        if finished.surrogate is not None:
            yield "surrogate", finished.surrogate.anchor
            assert runtime.theta is not None  # it learns from the surrogate
            with runtime.theta.probing():
                yield "surrogate at the parameters", finished.surrogate.loss()
        before = {name: to_host(array).copy() for name, array in runtime.exact.parameters().items()}
        runtime.exact.update(1.0)
        for name, array in runtime.exact.parameters().items():
            yield f"step of {name}", to_host(array) - before[name]
    elif runtime.theta is not None and manifest.has_loss:
        smashed, loss = runtime.clean(batch, 0)
        yield "smashed data", smashed
        yield "loss", loss
        with runtime.theta.probing():
            yield "loss of a probe", runtime.loss(batch, 0)
    else:
        yield "smashed data", runtime.smash(batch, 0)
    for name, buffer in runtime.buffers().items():
        yield name, buffer


def _compare(expected: Mapping[str, Array], found: Mapping[str, Array], count: int) -> None:
    """Refuse the first value that differs by more than rounding."""
    steps = [np.abs(to_host(array)).max(initial=0.0) for name, array in expected.items() if name.startswith("step of")]
    # A gradient that is nothing but rounding, such as that of a bias below BatchNorm, is small next to the others.
    smallest = 0.01 * float(max(steps, default=0.0))
    for name, array in expected.items():
        mine, other = (np.asarray(to_host(each), np.float64) for each in (array, found[name]))
        scale = max(float(np.abs(mine).max(initial=0.0)), smallest if name.startswith("step of") else 0.0) or 1.0
        error = float(np.abs(mine - other).max(initial=0.0)) / scale if mine.shape == other.shape else np.inf
        tolerance = _SURROGATE_TOLERANCE if name.startswith("surrogate") else _TOLERANCE
        if not error <= tolerance:
            raise BundleError(
                f"the export computes something else than PyTorch: {name} of {count} examples differs by {error:.1e} "
                f"of its largest value, expected at most {tolerance:.0e}; the client has an operation that cannot "
                f"be exported"
            )
