"""The Main Server: trains theta_s by ordinary backpropagation from smashed data, one upload after another.

It has one model and trains sequentially, as in SFLV2 (Thapa et al., AAAI 2022) and HERON-SFL; algorithms whose server
does more derive from it.
"""

import math
from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from torch import Tensor

from heron.arrays import Array
from heron.errors import TrainingError
from heron.randomness import seeded_randomness
from heron.seeds import derive_seed
from heron.server.fed_server import FedServer
from heron.server.finite import is_finite
from heron.server.setup import ServerSetup
from heron.server.uploads import UploadBuffer, clean_upload
from heron.split import is_stochastic, persistent_buffers
from heron.split.criterion import Criterion, MeanLoss
from heron.split.descent import Descent
from heron.tensors import as_tensor
from heron.wire import Answer, CutGradient, ProbeData, SmashedData, Upload


class MainServer:
    """Owner of theta_s, which it trains on smashed data: one model for all clients.

    Args:
        setup: server part, loss and optimiser.

    Attributes:
        module: f_s, the server part.
        criterion: mean loss over a batch.
    """

    def __init__(self, setup: ServerSetup) -> None:
        self.module = setup.split.server
        self.criterion: Criterion = MeanLoss(setup.criterion)
        trainable = {name: tensor for name, tensor in self.module.named_parameters() if tensor.requires_grad}
        self._descent = Descent(trainable, setup.settings.optimizer)
        self._learning_rate = setup.settings.learning_rate
        self._run_seed = setup.run_seed
        self._stochastic = is_stochastic(self.module)
        self._reuse = setup.settings.reuse
        self._buffer = UploadBuffer(setup.settings.buffer_size)
        self._losses: list[Tensor] = []

    @cached_property
    def _device(self) -> torch.device:
        return next(self.module.parameters()).device

    def receive(self, upload: Upload) -> None:
        """Train on a new upload, then, if reuse is configured, on some that were kept.

        Raises:
            MessageError: if the upload is a probe's, or damaged.
        """
        self.train(clean_upload(upload))
        if not self._reuse:
            return
        assert not isinstance(upload, ProbeData)  # refused above
        self._buffer.add(upload)
        place = (upload.round_index, upload.client_id, upload.local_step)
        drawn = self._buffer.draw(derive_seed("server reuse", self._run_seed, *place), self._reuse)
        for number, kept in enumerate(drawn):
            self._step(self._placed(kept.smashed), kept, (*place, number))

    def train(self, upload: SmashedData) -> None:
        """Take one step of backpropagation from z (HERON-SFL, round step 3); nothing is sent back."""
        self._losses.append(self._step(self._placed(upload.smashed), upload))

    def answer(self, upload: Upload) -> Answer:
        """Take one step of backpropagation from z, and return d loss / d z at the parameters before the step.

        Raises:
            MessageError: if the upload is a probe's.
        """
        upload = clean_upload(upload)
        smashed = self._placed(upload.smashed).detach().requires_grad_()
        self._losses.append(self._step(smashed, upload))
        assert smashed.grad is not None  # the loss depends on z
        return CutGradient(upload.round_index, upload.client_id, upload.local_step, smashed.grad)

    def begin_client(self) -> None:
        """Prepare for a client's uploads."""

    def end_client(self, weight: float) -> None:
        """Finish a client whose reply has come; it counts with `weight` in the round's means."""

    def end_round(self, round_index: int, fed_server: FedServer) -> None:
        """Finish the round after its last client.

        Args:
            round_index: t, from 0.
            fed_server: averages what clients train.
        """

    def after_average(self, round_index: int, fed_server: FedServer) -> None:
        """Hand over to the Fed Server what the Main Server has for clients.

        Args:
            round_index: t, from 0.
            fed_server: has the next round's model; takes the tensors that the Main Server has for clients.
        """

    def save_point(self) -> Callable[[], None]:
        """Return a function that undoes all later steps, so that a refused client leaves no trace.

        The function holds a copy of theta_s and of the optimiser state as long as it exists.
        """
        state = {name: tensor.clone() for name, tensor in self.state().items()}
        num_losses = len(self._losses)

        def undo() -> None:
            self.load_state(state)
            del self._losses[num_losses:]

        return undo

    def is_finite(self) -> bool:
        """Return whether every loss since the last `take_mean_loss`, and every parameter, is finite."""
        losses = [torch.stack(self._losses)] if self._losses else []
        return all(map(is_finite, [*losses, *self.module.parameters()]))

    def take_mean_loss(self) -> float:
        """Mean training loss since the last call, over new uploads only; NaN if there were none.

        Raises:
            TrainingError: if the loss, or a parameter, is not finite.
        """
        if not self._losses:
            return math.nan
        mean, finite = float(torch.stack(self._losses).mean()), self.is_finite()
        self._losses.clear()
        if not finite or not math.isfinite(mean):
            raise TrainingError(
                f"expected a finite loss on the Main Server, found {mean}; lower server.learning_rate or "
                f"client.learning_rate, or check the data for NaN"
            )
        return mean

    def state(self) -> dict[str, Tensor]:
        """The tensors of theta_s, buffers, optimiser state and kept uploads; nothing frozen, not copies."""
        return (
            {f"module/{name}": tensor for name, tensor in self._changing().items()}
            | {f"optimizer/{key}": value for key, value in self._descent.state().items()}
            | {f"uploads/{name}": tensor for name, tensor in self._buffer.state().items()}
        )

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a result of `state`; the tensors are copied."""
        groups: dict[str, dict[str, Tensor]] = {"module": {}, "optimizer": {}, "uploads": {}}
        for key, value in state.items():
            part, _, rest = key.partition("/")
            groups[part][rest] = value
        with torch.no_grad():
            for name, tensor in self._changing().items():
                tensor.copy_(groups["module"][name])
        self._buffer.load_state(groups["uploads"])
        self._descent.load_state({key: value.clone() for key, value in groups["optimizer"].items()})

    def _step(self, smashed: Tensor, upload: SmashedData, again: tuple[int, ...] = ()) -> Tensor:
        """Take one step of backpropagation and return the loss; `again` distinguishes visits of a kept upload."""
        loss = self._loss(smashed, self._placed(upload.labels), upload, again)
        loss.backward()  # type: ignore[no-untyped-call]
        self._descent.step(self._learning_rate)
        return loss.detach()

    def _loss(self, smashed: Tensor, labels: Tensor, upload: Upload, again: tuple[int, ...] = ()) -> Tensor:
        if not self._stochastic:
            return self.criterion(self.module(smashed), labels)
        place = (upload.round_index, upload.client_id, upload.local_step, *again)
        with seeded_randomness(derive_seed("server dropout", self._run_seed, *place), smashed.device):
            return self.criterion(self.module(smashed), labels)

    def _changing(self) -> dict[str, Tensor]:
        trainable = {name: tensor for name, tensor in self.module.named_parameters() if tensor.requires_grad}
        return {name: tensor.detach() for name, tensor in trainable.items()} | persistent_buffers(self.module)

    def _placed(self, array: Array) -> Tensor:
        """The array as a tensor where theta_s is."""
        return as_tensor(array, self._device)
