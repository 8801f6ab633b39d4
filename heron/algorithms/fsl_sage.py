"""FSL-SAGE: clients learn from an auxiliary network that the server fits to its own gradients.

"FSL-SAGE: Accelerating Federated Split Learning via Smashed Activation Gradient Estimation", Nair, Liu et al.,
arXiv 2505.23182. The client trains theta_c with the gradient of l(f_a(f_c(x)), y) and leaves theta_a alone. Every few
rounds the server minimises over theta_a, on stored smashed data,

    || grad_z l(f_a(z), y) - grad_z l(f_s(z), y) ||^2

and theta_a goes down with the next broadcasts.
"""

import functools
from collections import deque

import torch
from torch import Tensor
from torch.func import functional_call
from torch.optim import Adam

from heron.algorithms.base import Algorithm, ClientSettings
from heron.algorithms.decoupled import decoupled_round
from heron.algorithms.fed_server import FedServer
from heron.algorithms.first_order import LocalLossClient
from heron.algorithms.local import LocalNetwork
from heron.algorithms.main_server import MainServer, ServerSetup
from heron.comms import SmashedData
from heron.split import seeded_randomness
from heron.zo import preserved_buffers

_MAX_STORED = 10
_PREFIX = "auxiliary."


class FslSageClient(LocalLossClient):
    """A first-order client whose auxiliary network is the server's business.

    Args:
        local: client part, auxiliary network and local loss.
        settings: optimiser and learning rate eta_c.
    """

    def __init__(self, local: LocalNetwork, settings: ClientSettings) -> None:
        super().__init__(local, settings, trained=lambda name: name.startswith("client."))


class AligningServer(MainServer):
    """Keeps the last upload of each client of a round (of the 10 last clients) and aligns theta_a with them.

    Args:
        setup: server part, auxiliary network, loss, optimiser and alignment.
    """

    def __init__(self, setup: ServerSetup) -> None:
        super().__init__(setup)
        assert setup.split.auxiliary is not None  # checked before training
        self._auxiliary = setup.split.auxiliary
        self._alignment = setup.alignment
        self._seed = setup.run_seed
        self._stored: deque[SmashedData] = deque(maxlen=_MAX_STORED)

    def train(self, upload: SmashedData) -> None:
        """One step of backpropagation from z; the upload is kept until the client's next one."""
        super().train(upload)
        if self._stored and self._stored[-1].client_id == upload.client_id:
            self._stored.pop()
        self._stored.append(upload)

    def end_round(self, round_index: int, fed_server: FedServer) -> None:
        """Every `period` rounds: theta_a <- what imitates the server's gradients on the stored smashed data."""
        stored = list(self._stored)
        self._stored.clear()
        if not stored or (round_index + 1) % self._alignment.period:
            return
        # Running statistics are those of training; Dropout masks are drawn from a seed of their own.
        with (
            preserved_buffers(self.module),
            preserved_buffers(self._auxiliary),
            seeded_randomness(self._seed, stored[0].smashed.device),
        ):
            pairs = [(self._labelled(upload), self._server_gradient(upload)) for upload in stored]
            fed_server.downlink_only = self._align(fed_server.downlink_only, pairs)

    def _align(
        self, auxiliary: dict[str, Tensor], pairs: list[tuple[tuple[Tensor, Tensor], Tensor]]
    ) -> dict[str, Tensor]:
        """Adam on the squared distance of the gradients, relative to the server's; returns the new theta_a."""
        theta = {name: tensor.detach().clone().requires_grad_() for name, tensor in auxiliary.items()}
        own_names = {name.removeprefix(_PREFIX): tensor for name, tensor in theta.items()}
        head = functools.partial(functional_call, self._auxiliary, own_names)
        optimizer = Adam(theta.values(), lr=self._alignment.learning_rate)
        for _ in range(self._alignment.steps):
            for (smashed, labels), target in pairs:
                loss = self.criterion(head((smashed,)), labels)
                (gradient,) = torch.autograd.grad(loss, smashed, create_graph=True)
                distance = (gradient - target).square().sum() / target.square().sum()
                gradients = torch.autograd.grad(distance, list(theta.values()), allow_unused=True)
                for tensor, found in zip(theta.values(), gradients, strict=True):
                    tensor.grad = found
                optimizer.step()
        return {name: tensor.detach() for name, tensor in theta.items()}

    def _labelled(self, upload: SmashedData) -> tuple[Tensor, Tensor]:
        device = next(self.module.parameters()).device
        return upload.smashed.to(device).detach().requires_grad_(), upload.labels.to(device)

    def _server_gradient(self, upload: SmashedData) -> Tensor:
        """D l(f_s(z), y) / d z, shape of z; theta_s gets no gradient."""
        smashed, labels = self._labelled(upload)
        (gradient,) = torch.autograd.grad(self.criterion(self.module(smashed), labels), smashed)
        return gradient


FSL_SAGE = Algorithm(
    name="fsl_sage",
    summary="FSL-SAGE: first-order clients on an auxiliary network that the server aligns with its own gradients",
    citation="Nair, Liu et al., arXiv 2505.23182 (2025)",
    make_client=FslSageClient,
    run_round=decoupled_round,
    head="auxiliary",
    make_main_server=AligningServer,
    downlink_only="auxiliary",
)
