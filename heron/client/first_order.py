"""What clients that learn by backpropagation have in common."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from heron.client.local import LocalNetwork
from heron.client.step import ClientState, StepGenerator, StepKey, StepResult
from heron.data import Batch
from heron.split.descent import Descent
from heron.wire.learning import Learning


class FirstOrderClient:
    """Parameters, optimiser and state of a first-order client; how a step learns is for those who derive from it.

    Args:
        local: what the client holds.
        learning: optimiser and learning rate eta_l.
        trained: whether a parameter, by name, is trained here; all are by default.
    """

    def __init__(
        self, local: LocalNetwork, learning: Learning, trained: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._local = local
        self._learning = learning
        self._parameters = {
            name: tensor for name, tensor in local.module.named_parameters() if tensor.requires_grad and trained(name)
        }
        self._descent = Descent(self._parameters, learning.client.optimizer)

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """Parameters <- the broadcast, those included that are not trained here; optimiser state <- kept, or none."""
        with torch.no_grad():
            for name, parameter in self._local.module.named_parameters():
                if name in self._parameters or name in model:
                    parameter.copy_(model[name])
        self._local.load_buffers_(model)
        self._descent.load_state(state)

    def model(self) -> dict[str, Tensor]:
        """What is trained, and the buffers."""
        return {name: parameter.detach() for name, parameter in self._parameters.items()} | self._local.buffers()

    def replayed(self) -> tuple[str, ...]:
        """Nothing: no scalar tells a gradient."""
        return ()

    def state(self) -> ClientState:
        """The optimiser's tensors by parameter and entry, or nothing where every round starts afresh."""
        return self._descent.state() if self._learning.client.keep_state else {}

    def resident(self) -> dict[str, list[Tensor]]:
        """One copy of the parameters."""
        return {
            "parameters": list(self._local.module.parameters()),
            "buffers": list(self._local.buffers().values()),
            "optimizer_state": list(self._descent.state().values()),
        }

    def _trained(self) -> list[nn.Parameter]:
        return list(self._parameters.values())

    def _update(self, key: StepKey) -> None:
        """One step of the update rule; gradients are released."""
        self._descent.step(self._learning.rate(key.round_index))


class LocalLossClient(FirstOrderClient):
    """A first-order client that learns from a loss of its own, l(f_a(f_c(x)), y)."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One step of backpropagation; smashed data leaves before the backward pass where the batch is one piece."""
        whole = self._local.micro_batch is None
        with torch.enable_grad():
            smashed, loss = self._local.clean_pass(batch, key.seed("dropout"), None if whole else self._backward)
        yield smashed
        del smashed  # handed over: the backward pass needs its room
        if whole:
            self._backward(loss)
        self._update(key)
        return StepResult(loss.detach())

    def _backward(self, loss: Tensor) -> None:
        loss.backward(inputs=self._trained())  # type: ignore[no-untyped-call]
