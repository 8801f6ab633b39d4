"""A Main Server that fits the auxiliary network to its own gradients: FSL-SAGE's alignment.

"FSL-SAGE: Accelerating Federated Split Learning via Smashed Activation Gradient Estimation", Nair, Liu et al.,
arXiv 2505.23182. Every few rounds the server minimises over theta_a, on stored smashed data,

    || grad_z l(f_a(z), y) - grad_z l(f_s(z), y) ||^2

and theta_a is part of the next broadcasts. If clients train theta_a, too, this starts from the round's average.
"""

import functools
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from heron.randomness import seeded_randomness
from heron.server.fed_server import FedServer
from heron.server.main_server import MainServer
from heron.server.setup import ServerSetup
from heron.split.descent import Descent
from heron.tensors import as_tensor
from heron.wire import SmashedData
from heron.zo import preserved_buffers

_MAX_STORED = 10
_PREFIX = "auxiliary."


class AligningServer(MainServer):
    """Main Server that keeps each client's last upload of a round (at most 10 clients) and aligns theta_a with them.

    Args:
        setup: server part, auxiliary network, loss, optimiser and alignment.
    """

    def __init__(self, setup: ServerSetup) -> None:
        super().__init__(setup)
        assert setup.split.auxiliary is not None  # checked before training
        self._auxiliary = setup.split.auxiliary
        self._settings = setup.settings
        self._seed = setup.run_seed
        self._stored: deque[SmashedData] = deque(maxlen=_MAX_STORED)

    def train(self, upload: SmashedData) -> None:
        """Take one step of backpropagation from z; the upload is kept until the client's next one."""
        super().train(upload)
        if self._stored and self._stored[-1].client_id == upload.client_id:
            self._stored.pop()
        self._stored.append(upload)

    def save_point(self) -> Callable[[], None]:
        """Return a function that undoes all later steps, and forgets uploads stored since."""
        undo_steps, stored = super().save_point(), list(self._stored)

        def undo() -> None:
            undo_steps()
            self._stored = deque(stored, maxlen=_MAX_STORED)

        return undo

    def after_average(self, round_index: int, fed_server: FedServer) -> None:
        """Every `period` rounds, replace theta_a by one that imitates the server's gradients on stored smashed data."""
        stored = list(self._stored)
        self._stored.clear()
        if not stored or (round_index + 1) % self._settings.alignment_period:
            return
        names = {f"{_PREFIX}{name}" for name, _ in self._auxiliary.named_parameters()}
        theta_a = {name: tensor for name, tensor in fed_server.global_model().items() if name in names}
        # Running statistics are those of training; Dropout masks have a seed of their own.
        with (
            preserved_buffers(self.module),
            preserved_buffers(self._auxiliary),
            seeded_randomness(self._seed, as_tensor(stored[0].smashed).device),
        ):
            pairs = [(self._labelled(upload), self._server_gradient(upload)) for upload in stored]
            # A gradient of zero cannot be imitated, and a distance relative to it is not defined.
            fed_server.replace(self._align(theta_a, [pair for pair in pairs if pair[1].any()]))

    def _align(
        self, auxiliary: dict[str, Tensor], pairs: list[tuple[tuple[Tensor, Tensor], Tensor]]
    ) -> dict[str, Tensor]:
        """Run Adam on the squared distance of the gradients, relative to the server's; returns the new theta_a."""
        theta = {name: tensor.detach().clone().requires_grad_() for name, tensor in auxiliary.items()}
        own_names = {name.removeprefix(_PREFIX): tensor for name, tensor in theta.items()}
        head = functools.partial(functional_call, self._auxiliary, own_names)
        descent = Descent(theta, "adam")
        for _ in range(self._settings.alignment_steps):
            for (smashed, labels), target in pairs:
                # The gradient of fused attention is not differentiable; that of its separate operations is.
                with sdpa_kernel(SDPBackend.MATH):
                    loss = self.criterion(head((smashed,)), labels)
                (gradient,) = torch.autograd.grad(loss, smashed, create_graph=True)
                distance = (gradient - target).square().sum() / target.square().sum()
                gradients = torch.autograd.grad(distance, list(theta.values()), allow_unused=True)
                for tensor, found in zip(theta.values(), gradients, strict=True):
                    tensor.grad = found
                descent.step(self._settings.alignment_learning_rate)
        return {name: tensor.detach() for name, tensor in theta.items()}

    def _labelled(self, upload: SmashedData) -> tuple[Tensor, Tensor]:
        return self._placed(upload.smashed).detach().requires_grad_(), self._placed(upload.labels)

    def _server_gradient(self, upload: SmashedData) -> Tensor:
        """Gradient d l(f_s(z), y) / d z, shape of z; theta_s gets no gradient."""
        smashed, labels = self._labelled(upload)
        (gradient,) = torch.autograd.grad(self.criterion(self.module(smashed), labels), smashed)
        return gradient


def refreshing_server(setup: ServerSetup) -> MainServer:
    """The Main Server of an algorithm whose clients train theta_a: it refreshes theta_a if the setup asks for it."""
    return AligningServer(setup) if setup.settings.refresh_auxiliary else MainServer(setup)
