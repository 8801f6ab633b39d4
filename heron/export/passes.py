"""A client's passes as functions of arrays, in the form that an export takes.

`B` examples of a batch.
"""

import copy
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd

from heron.client.runtime import Head, Orders
from heron.client.torch_runtime.closed_form import has_closed_form
from heron.client.torch_runtime.network import Parts
from heron.client.torch_runtime.placement import place_orders
from heron.errors import ConfigError
from heron.export.batch_norm import BatchStatisticsNorm, Seen, is_batch_norm
from heron.split import TokenLogits
from heron.split.criterion import Criterion, MeanLoss

Arrays = Mapping[str, Tensor]
Outputs = dict[str, Tensor]


class ClientPasses(nn.Module):
    """A copy of what a client holds, BatchNorm replaced, and its passes; the network stays as it is.

    Args:
        split: the cut network, or a client's parts of it.
        criterion: mean loss over a batch.
        head: name of the head; None for a client without a loss.
        orders: which modules learn how.

    Attributes:
        module: the parts under their names.
        probed: names of the parameters that learn from probes.
        trained: names of those that learn from exact gradients.
        has_boundary: whether both orders meet in the client.

    Raises:
        ConfigError: if the order boundary is neither a number nor `all`.
        SplitError: if the client has no such boundary.
    """

    def __init__(self, split: Parts, criterion: Criterion, head: Head | None, orders: Orders) -> None:
        super().__init__()
        parts = {"client": split.client} | ({head: getattr(split, head)} if head else {})
        self.module = nn.ModuleDict(copy.deepcopy(parts)).train()
        self._criterion = MeanLoss(criterion)
        self._head = head
        self._seen: Seen = {}
        placed = place_orders(self.module, orders)
        self.probed, self.trained = placed.probed, placed.exact
        self._replace_layers()
        boundary = place_orders(self.module, orders).boundary
        self.has_boundary = boundary is not None
        # The parts are registered, so that a pass on other arrays reaches them; names of parameters stay as they are.
        self._parts = nn.ModuleList()
        self._has_formula = False
        if boundary is not None:
            self._parts.extend([boundary.below, boundary.above, boundary.head_below, boundary.head_above])
            is_formula = not len(boundary.above) and has_closed_form(boundary.head_above, criterion)
            self._has_formula = is_formula and all(own.requires_grad for own in boundary.head_above.parameters())

    def arrays(self) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by name; running statistics are not among them.

        An array that several layers share is there once, under its first name.
        """
        return {name: tensor.detach() for name, tensor in self._once().items()}

    def name_of(self, array: Tensor) -> str | None:
        """Return the name of one of `arrays`, as the module holds it; None where it is not among them."""
        return next((name for name, tensor in self._once().items() if tensor is array), None)

    def has_linear_head(self, inputs: Tensor, labels: Tensor) -> bool:
        """Return whether one linear layer under cross-entropy, trained whole, is above the boundary.

        Asked before the passes are exported, which may leave this module without values.

        Args:
            inputs: a few examples, of which each has one row of features there.
            labels: of these, one class each.
        """
        if not self._has_formula or labels.dim() != 1 or labels.is_floating_point():
            return False
        return self.probe(inputs, self.arrays())["edge"].dim() == 2

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Any:
        """Compute what the head returns, of any type; smashed data where there is none."""
        smashed = self.module["client"](inputs)
        return smashed if self._head is None else self.module[self._head](smashed)

    def clean(self, inputs: Tensor, labels: Tensor | None, arrays: Arrays) -> Outputs:
        """Run a clean pass on given arrays.

        Args:
            inputs: shape (B, ...).
            labels: shape (B, ...); None for a client without a loss.
            arrays: parameters and buffers by name.

        Returns:
            `smashed`; `loss` and, where the criterion has them, `losses`, or `hidden` of a language model, whose scores
            are not computed here; `gradient/NAME` of what is trained exactly; `edge` and `delta`, activations at the
            order boundary and their gradient; `mean/LAYER` and `variance/LAYER` of BatchNorm.
        """
        self._seen.clear()
        if not self.trained:
            with torch.no_grad():
                outputs = self._call("clean", arrays, inputs, labels)
        else:
            outputs = self._with_gradients(inputs, labels, arrays)
        for layer, (mean_C, variance_C) in self._seen.items():
            outputs |= {f"mean/{layer}": mean_C.detach(), f"variance/{layer}": variance_C.detach()}
        return outputs

    @torch.no_grad()
    def probe(self, inputs: Tensor, arrays: Arrays) -> Outputs:
        """Compute `edge`, the activations at the order boundary, on given arrays."""
        return self._call("probe", arrays, inputs)

    def forward(self, kind: Literal["clean", "probe"], inputs: Tensor, labels: Tensor | None = None) -> Outputs:
        """Run a pass on the module's own arrays."""
        if not self.has_boundary:
            smashed = self.module["client"](inputs)
            losses = {} if self._head is None else self._losses(self.module[self._head], smashed, labels)
            return {"smashed": smashed} | losses
        below, above, head_below, head_above = self._parts
        edge = smashed = below(inputs)
        is_inside_head = self._is_empty(above)
        if is_inside_head:
            edge = head_below(edge)
        if kind == "probe":
            return {"edge": edge}
        leaf = edge.detach().requires_grad_()
        outputs = above(leaf)
        if not is_inside_head:
            smashed = outputs
        return {"smashed": smashed, "edge": edge, "leaf": leaf} | self._losses(head_above, outputs, labels)

    @staticmethod
    def _is_empty(part: nn.Module) -> bool:
        return next(part.children(), None) is None

    def _losses(self, head: nn.Module, smashed: Tensor, labels: Tensor | None) -> Outputs:
        scores = head(smashed)
        if isinstance(scores, TokenLogits):
            return {"hidden": scores.hidden_BTD}
        assert labels is not None  # a client with a head has a loss
        found = {"loss": self._criterion(scores, labels)}
        if not self.trained:
            with suppress(ConfigError):  # a mean alone is enough for everything but per-example features
                found["losses"] = self._criterion.losses(scores, labels)
        return found

    def _with_gradients(self, inputs: Tensor, labels: Tensor | None, arrays: Arrays) -> Outputs:
        live = {
            name: tensor.detach().requires_grad_() if name in self.trained else tensor
            for name, tensor in arrays.items()
        }
        with torch.enable_grad():
            outputs = self._call("clean", live, inputs, labels)
            leaves = {f"gradient/{name}": live[name] for name in self.trained}
            if "leaf" in outputs:
                leaves["delta"] = outputs.pop("leaf")
            gradients = torch.autograd.grad(outputs["loss"], list(leaves.values()))
        found = outputs | dict(zip(leaves, gradients, strict=True))
        return {name: tensor.detach() for name, tensor in found.items()}

    def _call(self, kind: Literal["clean", "probe"], arrays: Arrays, *inputs: Tensor | None) -> Outputs:
        named = {f"module.{name}": tensor for name, tensor in arrays.items()}
        outputs: Outputs = functional_call(self, named, (kind, *inputs), strict=False)
        return outputs

    def _once(self) -> dict[str, Tensor]:
        names: dict[int, str] = {}
        kept = self.module.state_dict(keep_vars=True)
        return {name: tensor for name, tensor in kept.items() if names.setdefault(id(tensor), name) == name}

    def _replace_layers(self) -> None:
        for name, layer in list(self.module.named_modules()):
            if getattr(layer, "inplace", False) is True:
                layer.inplace = False
            if isinstance(layer, _DropoutNd):
                layer.eval()  # one that draws has been refused
            if is_batch_norm(layer):
                parent, _, own = name.rpartition(".")
                setattr(self.module.get_submodule(parent), own, BatchStatisticsNorm(layer, name, self._seen))
