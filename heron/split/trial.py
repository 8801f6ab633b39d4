"""Forward passes of `check_trainable`: run the parts as training will, and check their outputs."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.randomness import generator_states, is_stochastic
from heron.split.cut import check_batch_dimension
from heron.split.sharing import persistent_buffers
from heron.split.untouched import attempt, num_writes, same_bits, untouched

# Kernels may sum in another order for another batch size; coupled examples differ by far more.
_COUPLING_TOLERANCE = 1e-3
_COUPLING_ROUNDINGS = 8
_LABELS = {"auxiliary": "auxiliary network"}


class Trial:
    """Runs of a cut network's parts on two examples; refuses a network that training could not handle.

    Args:
        split: the cut network, or a client's part of one; restored after the runs.
        parts: its parts that run, by name: `client`, and `auxiliary` and `server` where they are held.
        example: inputs, shape (B, ...), B >= 1.
    """

    def __init__(self, split: nn.Module, parts: Mapping[str, nn.Module], example: Tensor) -> None:
        self._split = split
        self._parts = {_LABELS.get(name, name): part for name, part in parts.items()}
        self._example = example[:2] if len(example) > 1 else example[:1].repeat(2, *[1] * (example.dim() - 1))
        self._parameters = {
            part: {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
            for part, module in self._parts.items()
        }
        self._passes: list[str] = []

    def run(self, micro_batch: int | None) -> tuple[str, ...]:
        """Run all passes and return one line for each.

        Raises:
            SplitError: at the first violation.
        """
        with untouched(self._split, self._example.device):
            self._run_all()
            self._split.eval()
            # A (2, 2) output would hide swapped batch and feature dimensions; three examples reveal them.
            check_batch_dimension(self._pass("client", self._example[[0, 1, 1]]), 3)
            if micro_batch is not None:
                self._check_examples_independent(min(micro_batch, 2))
        return tuple(self._passes)

    def _run_all(self) -> None:
        for training in (True, False):
            self._split.train(training)
            smashed = self._pass("client", self._example)
            check_batch_dimension(smashed, len(self._example))
            for part in ("auxiliary network", "server"):
                if part in self._parts:
                    self._pass(part, smashed)

    def _pass(self, part: str, inputs: Tensor) -> Tensor:
        """Run one forward pass on a copy of the inputs, with all checks."""
        module = self._parts[part]
        mode = "training" if module.training else "evaluation"
        given = inputs.clone()
        before = num_writes(given)
        states, unsaved = generator_states(inputs.device), _unsaved(module)
        outputs = attempt(f"{part} in {mode} mode", module, given)
        self._passes.append(f"{part} in {mode} mode on {tuple(inputs.shape)} -> {tuple(outputs.shape)}")
        if num_writes(given) != before or not same_bits(given, inputs):
            raise SplitError(
                f"expected the {part} to leave its input alone, found that it changes it in place: the same tensor "
                f"is needed again; set inplace=False in its first operation (e.g. nn.ReLU)"
            )
        for name, parameter in module.named_parameters():
            if not same_bits(parameter, self._parameters[part][name]):
                raise SplitError(
                    f"expected forward passes to only read parameters, found that the {part} changes {name!r}; keep "
                    f"such values in a buffer"
                )
        if module.training:
            _check_unsaved(part, unsaved, module)
        drawn = not all(map(torch.equal, states, generator_states(inputs.device)))
        if drawn and not is_stochastic(module):
            raise SplitError(
                f"expected random numbers only from layers known to draw them, found that the {part} draws others in "
                f"{mode} mode; use nn.Dropout layers, or derive the layer that draws from nn.Dropout"
            )
        _check_finite(part, mode, inputs, outputs)
        return outputs

    def _check_examples_independent(self, piece_size: int) -> None:
        local = [self._parts[part] for part in ("client", "auxiliary network") if part in self._parts]
        if any(map(is_stochastic, local)):
            return  # masks differ between passes, so values cannot be compared
        self._split.train()
        batch = self._example[[0, 1, 1, 1]]
        whole = self._local_pass(batch)
        pieces = [self._local_pass(piece) for piece in torch.split(batch, piece_size)]
        if not _agree(whole, pieces):
            raise SplitError(
                "expected each example's result to be independent of its batch if micro-batches divide it, "
                "found that it is not; replace the layer that couples examples (e.g. by GroupNorm) or leave "
                "micro-batches out"
            )

    def _local_pass(self, inputs: Tensor) -> Tensor:
        smashed = self._pass("client", inputs)
        return self._pass("auxiliary network", smashed) if "auxiliary network" in self._parts else smashed


def _agree(whole: Tensor, pieces: list[Tensor]) -> bool:
    """Return whether the concatenated pieces equal the whole up to rounding."""
    if any(piece.dim() == 0 or piece.shape[1:] != whole.shape[1:] for piece in (whole, *pieces)):
        return False
    joined = torch.cat(pieces)
    rounding = torch.finfo(whole.dtype).eps if whole.dtype.is_floating_point else 0.0
    tolerance = max(_COUPLING_TOLERANCE, _COUPLING_ROUNDINGS * rounding) * float(whole.abs().max())
    return joined.shape == whole.shape and float((joined - whole).abs().max()) <= tolerance


def _unsaved(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers that the state dict leaves out."""
    saved = persistent_buffers(module)
    return {name: buffer.detach().clone() for name, buffer in module.named_buffers() if name not in saved}


def _check_unsaved(part: str, before: Mapping[str, Tensor], module: nn.Module) -> None:
    """Refuse training that changes what no other client and no checkpoint would get; a cache may change its size."""
    for name, buffer in module.named_buffers():
        value = before.get(name)
        if value is None or (value.shape, value.dtype) != (buffer.shape, buffer.dtype):
            continue
        if not same_bits(value, buffer):
            raise SplitError(
                f"expected everything that training changes to be in the state dict, found that the {part} changes the "
                f"buffer {name!r}, which is not; register it with persistent=True, or use a plain attribute if no pass "
                f"reads it"
            )


def _check_finite(part: str, mode: str, inputs: Tensor, outputs: Tensor) -> None:
    if not bool(torch.isfinite(inputs).all()):
        raise SplitError(f"expected finite inputs for the {part}, found NaN or infinity; check the data")
    if not bool(torch.isfinite(outputs).all()):
        raise SplitError(
            f"expected finite outputs of the {part} in {mode} mode, found NaN or infinity; check its initial weights"
        )
