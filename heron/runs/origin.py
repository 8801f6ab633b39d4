"""Origin of a run that is made in Python: digests of the network, the data and the criterion that it began with.

A run directory of a recipe is bound to these by its configuration. One of `heron.train(out=...)` is bound by its
origin, which its checkpoints contain: what differs when the run is continued is refused by name.
"""

import contextlib
import functools
import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from heron.data import Splits, fetch, num_examples
from heron.data.splits import Examples
from heron.errors import CheckpointError
from heron.split import SplitModel, persistent_buffers
from heron.split.criterion import Criterion

_SAMPLES = 8
_VALUES = 4096
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_DEPTH = 2
_SETTING = "settings/"
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def origin_of(
    split: SplitModel, splits: Splits, labels: np.ndarray, criterion: Criterion, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe what a run is made of, by names that read well in an error.

    Of the network count the kinds, order and plain settings of its layers, the names, shapes and types of its
    parameters, which of these are trained, and values that a checkpoint does not restore: frozen parameters and
    constants. The initial values of what is trained do not count. Of the data count their number, all training labels,
    natural owners, and eight inputs of each split. Code is not compared: not that of a layer, a criterion or a data
    set of one's own, apart from its name.

    Args:
        split: the cut network, before it is trained.
        splits: the data.
        labels: of all training examples.
        criterion: mean loss over a batch.
        settings: plain values by key; a difference is told with both values.
    """
    values = {f"{_SETTING}{key}": value for key, value in settings.items()}
    values |= {f"the {name}": digest for name, digest in _network(split).items()}
    values["the criterion"] = _described(criterion)
    values["the labels of the training examples"] = _hash([labels.dtype.str, str(labels.shape), labels.tobytes()])
    values["the natural owners of the training examples"] = _hash([_bytes_of(splits.groups)])
    for name, examples in (("training", splits.train), ("validation", splits.validation), ("test", splits.test)):
        values[f"the number of {name} examples"] = str(num_examples(examples))
        values[f"the inputs of the {name} examples"] = _sample(examples)
    return values


def check_origin(path: Path, found: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse to continue a run with something else than it began with.

    Args:
        path: its directory.
        found: the origin in its checkpoint; what is not in it is not compared.
        own: the origin of the run that continues.

    Raises:
        CheckpointError: with the first difference.
    """
    for name, value in own.items():
        if name not in found or found[name] == value:
            continue
        expected, differs = f"{name} that the run there began with", "others"
        if name.startswith(_SETTING):
            key = name.removeprefix(_SETTING)
            expected, differs = f"{key}={found[name]!r}, with which the run there began", f"{value!r}"
            if key == "rounds":
                differs += ", on which step sizes or noise of all its rounds depend"
        raise CheckpointError(
            f"{path}: expected {expected}, found {differs}; give the same to continue it, or another out= for a new run"
        )


def _network(split: SplitModel) -> dict[str, str]:
    """Digests of a network's layers, parameters and frozen values."""
    layers = [f"{name}: {_layer(module)}" for name, module in split.named_modules()]
    parameters = [
        f"{name}: {tuple(tensor.shape)} {tensor.dtype} {tensor.requires_grad}"
        for name, tensor in split.named_parameters(remove_duplicate=False)
    ]
    restored = persistent_buffers(split).keys()
    frozen: list[tuple[str, Tensor]] = [
        (name, tensor) for name, tensor in split.named_parameters() if not tensor.requires_grad
    ]
    frozen += [(name, buffer) for name, buffer in split.named_buffers() if name not in restored]
    return {
        "layers of the network": _hash(layers),
        "parameters of the network": _hash(parameters),
        "frozen values of the network": _hash([part for name, tensor in frozen for part in (name, _bytes_of(tensor))]),
    }


def _layer(module: nn.Module) -> str:
    """Kind and settings of a layer, without those of its children."""
    code = module.code if isinstance(module, fx.GraphModule) else ""
    return f"{_name(type(module))}({_ADDRESS.sub('', module.extra_repr())}) {_attributes(module)} {code}"


def _attributes(value: object) -> list[str]:
    """Public attributes that are plain values or functions; whether a layer trains is none of its settings."""
    named = ((name, found) for name, found in sorted(vars(value).items()) if not name.startswith("_"))
    return [
        f"{name}={_name(found) if inspect.isroutine(found) else repr(found)}"
        for name, found in named
        if name != "training" and (_is_plain(found) or inspect.isroutine(found))
    ]


def _is_plain(value: object) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, tuple) else isinstance(value, _PLAIN)


def _described(value: Any, depth: int = 0) -> str:
    """Name and settings of a function, a module or an object that can be called, and of what it holds."""
    if isinstance(value, nn.Module):
        if depth > 1:
            return _name(type(value))
        layers = [f"{name}: {_layer(module)}" for name, module in value.named_modules()]
        return "; ".join([*layers, *(_hash([_bytes_of(buffer)]) for buffer in value.buffers())])
    if isinstance(value, functools.partial):
        bound = [*value.args, *(item for pair in sorted(value.keywords.items()) for item in pair)]
        return f"partial({', '.join(_described(item, depth + 1) for item in (value.func, *bound))})"
    if inspect.isfunction(value):
        held = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *_closure(value)]
        return f"{_name(value)}({', '.join(_described(item, depth + 1) for item in held) if depth < _DEPTH else ''})"
    if isinstance(value, Tensor | np.ndarray):
        return _hash([_bytes_of(value)])
    if _is_plain(value):
        return repr(value)
    if inspect.isroutine(value) or isinstance(value, type):
        return _name(value)
    return f"{_name(type(value))} {_attributes(value) if hasattr(value, '__dict__') else ''}"


def _closure(function: Any) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it is not filled yet
            yield cell.cell_contents


def _sample(examples: Examples) -> str:
    """Digest of some inputs; of a data set whose inputs differ from one reading to the next, only that they do."""
    total = num_examples(examples)
    if total == 0:
        return "none"
    positions = np.unique(np.linspace(0, total - 1, _SAMPLES).astype(np.int64))
    first, second = (_hash([_bytes_of(fetch(examples, positions).inputs)]) for _ in range(2))
    return first if first == second else "drawn at random"


def _bytes_of(value: Any) -> bytes:
    """Shape, type and some 4,096 values of an array, or all of a smaller one."""
    if value is None:
        return b""
    flat = torch.as_tensor(value).detach().reshape(-1)
    chosen = flat[:: max(1, len(flat) // _VALUES)].cpu().contiguous()
    return f"{tuple(value.shape)} {value.dtype} ".encode() + chosen.view(torch.uint8).numpy().tobytes()


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _hash(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
