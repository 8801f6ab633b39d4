"""The two servers of split federated learning, as plain objects on tensors.

The Main Server trains theta_s by ordinary backpropagation from smashed data, upload after upload (one model,
sequential, as in SFLV2: Thapa et al., AAAI 2022). The Fed Server averages what clients send back.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from heron.algorithms.local import Criterion
from heron.comms import ClientReply, ModelBroadcast, SmashedData
from heron.errors import MessageError, TrainingError
from heron.split import is_stochastic, seeded_randomness
from heron.zo import derive_seed


class MainServer:
    """Holds theta_s and trains it on smashed data; nothing goes back to the client.

    Args:
        module: the server part f_s.
        criterion: mean loss over a batch.
        make_optimizer: builds the optimiser of theta_s from its parameters.
        run_seed: seed of the run; Dropout masks of a step are a function of it and the step's place.
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: Criterion,
        make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        run_seed: int,
    ) -> None:
        self.module = module
        self.criterion = criterion
        self.optimizer = make_optimizer(module.parameters())
        self._run_seed = run_seed
        self._stochastic = is_stochastic(module)
        self._losses: list[Tensor] = []

    def train(self, upload: SmashedData) -> None:
        """One step of backpropagation from z (HERON-SFL, round step 3)."""
        device = next(self.module.parameters()).device
        smashed, labels = upload.smashed.to(device), upload.labels.to(device)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(smashed, labels, upload)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._losses.append(loss.detach())

    def take_mean_loss(self) -> float:
        """Mean training loss since the last call.

        Raises:
            TrainingError: if it, or a parameter, is not finite.
        """
        mean = float(torch.stack(self._losses).mean())
        self._losses.clear()
        if not math.isfinite(mean) or not all(
            bool(torch.isfinite(tensor).all()) for tensor in self.module.parameters()
        ):
            raise TrainingError(
                f"expected a finite loss on the Main Server, found {mean}; lower server.learning_rate or "
                f"client.learning_rate, or check the data for NaN"
            )
        return mean

    def _loss(self, smashed: Tensor, labels: Tensor, upload: SmashedData) -> Tensor:
        if not self._stochastic:
            return self.criterion(self.module(smashed), labels)
        place = (upload.round_index, upload.client_id, upload.local_step)
        with seeded_randomness(derive_seed("server dropout", self._run_seed, *place), smashed.device):
            return self.criterion(self.module(smashed), labels)


class FedServer:
    """Holds the global theta_l (and buffers), broadcasts it and replaces it by the mean of the replies.

    Floating tensors are averaged with equal weights; integer ones (BatchNorm's `num_batches_tracked`) have no mean, so
    the largest is kept. Replies are summed as they arrive: no list of client models is ever held.

    Args:
        model: initial tensors by name; copied.
    """

    def __init__(self, model: Mapping[str, Tensor]) -> None:
        self.model = {name: tensor.detach().clone() for name, tensor in model.items()}
        self._sums: dict[str, Tensor] = {}
        self._num_replies = 0
        self._losses: list[float] = []

    def broadcast(self, round_index: int, client_id: int) -> ModelBroadcast:
        """The message that opens a client's round (round step 1)."""
        return ModelBroadcast(round_index=round_index, client_id=client_id, model=self.model)

    @torch.no_grad()
    def accept(self, reply: ClientReply) -> None:
        """Add a client's reply to the running sum (round step 4).

        Raises:
            MessageError: if its tensors are not those of the model.
            TrainingError: if its loss or a tensor is not finite.
        """
        loss = float(reply.train_loss)
        self._check(reply, loss)
        for name, tensor in reply.model.items():
            received = tensor.to(self.model[name].device)
            if name not in self._sums:
                self._sums[name] = received.clone()
            elif received.dtype.is_floating_point:
                self._sums[name] += received
            else:
                torch.maximum(self._sums[name], received, out=self._sums[name])
        self._num_replies += 1
        self._losses.append(loss)

    @torch.no_grad()
    def average(self) -> float:
        """Make the mean of the round's replies the global model; returns the clients' mean local loss."""
        for name, total in self._sums.items():
            self.model[name] = total / self._num_replies if total.dtype.is_floating_point else total
        mean_loss = sum(self._losses) / len(self._losses)
        self._sums, self._num_replies, self._losses = {}, 0, []
        return mean_loss

    def _check(self, reply: ClientReply, loss: float) -> None:
        expected = {name: tuple(tensor.shape) for name, tensor in self.model.items()}
        found = {name: tuple(tensor.shape) for name, tensor in reply.model.items()}
        if expected != found:
            odd = min(set(expected.items()) ^ set(found.items()))[0]
            raise MessageError(
                f"reply of client {reply.client_id} in round {reply.round_index}: {odd!r} should have shape "
                f"{expected.get(odd)}, found {found.get(odd)}"
            )
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in reply.model.values())
        if not finite or math.isinf(loss):
            raise TrainingError(
                f"expected a finite update, found NaN or infinity from client {reply.client_id} in round "
                f"{reply.round_index} (local loss {loss}); lower client.learning_rate or check its data"
            )
