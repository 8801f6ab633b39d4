"""CSE-FSL: clients that learn by backpropagation from the loss of their auxiliary network.

"Communication and Storage Efficient Federated Split Learning", Mu and Shen, arXiv 2302.05599. The same round and
the same local loss as HERON-SFL; the client's gradient is exact and costs it the cached activations.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from heron.algorithms.base import Algorithm, ClientSettings, ClientState, StepGenerator, StepKey, StepResult
from heron.algorithms.decoupled import decoupled_round
from heron.algorithms.local import LocalNetwork
from heron.data import Batch


class CseFslClient:
    """A first-order client with a local loss.

    Args:
        local: client part, auxiliary network and local loss.
        settings: optimiser and learning rate eta_l.
    """

    def __init__(self, local: LocalNetwork, settings: ClientSettings) -> None:
        self._local = local
        self._settings = settings
        self._parameters = {name: tensor for name, tensor in local.module.named_parameters() if tensor.requires_grad}
        self._optimizer = self._new_optimizer()

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """theta_l <- the broadcast; optimiser state <- what the client kept, or none."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(model[name])
        self._local.load_buffers_(model)
        self._optimizer = self._new_optimizer()
        for key, tensor in state.items():
            name, _, entry = key.rpartition("/")
            self._optimizer.state[self._parameters[name]][entry] = tensor

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One step of backpropagation; smashed data leaves before the backward pass where the batch is one piece."""
        self._optimizer.zero_grad(set_to_none=True)
        if self._local.micro_batch is None:
            with torch.enable_grad():
                smashed, loss = self._local.clean_pass(batch, key.seed("dropout"))
            yield smashed
            del smashed
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            with torch.enable_grad():
                smashed, loss = self._local.clean_pass(batch, key.seed("dropout"), Tensor.backward)
            yield smashed
            del smashed
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return StepResult(loss.detach())

    def model(self) -> dict[str, Tensor]:
        """theta_l and the buffers."""
        return {name: parameter.detach() for name, parameter in self._parameters.items()} | self._local.buffers()

    def state(self) -> ClientState:
        """The optimiser's tensors by parameter and entry, or nothing where every round starts afresh."""
        if not self._settings.keep_state:
            return {}
        return {
            f"{name}/{entry}": tensor
            for name, parameter in self._parameters.items()
            for entry, tensor in self._optimizer.state[parameter].items()
            if isinstance(tensor, Tensor)
        }

    def resident(self) -> dict[str, list[Tensor]]:
        """One copy of theta_l."""
        entries = [tensor for entry in self._optimizer.state.values() for tensor in entry.values()]
        return {
            "parameters": list(self._local.module.parameters()),
            "buffers": list(self._local.buffers().values()),
            "optimizer_state": [tensor for tensor in entries if isinstance(tensor, Tensor)],
        }

    def _new_optimizer(self) -> Optimizer:
        rate = self._settings.learning_rate
        parameters = self._parameters.values()
        if self._settings.optimizer == "adam":
            return Adam(parameters, lr=rate)
        return SGD(parameters, lr=rate, momentum=0.9 if self._settings.optimizer == "momentum" else 0.0)


CSE_FSL = Algorithm(
    name="cse_fsl",
    summary="CSE-FSL: first-order clients on the auxiliary loss, no gradient comes back",
    citation="Mu, Shen, arXiv 2302.05599 (2023)",
    make_client=CseFslClient,
    run_round=decoupled_round,
    needs_auxiliary=True,
)
