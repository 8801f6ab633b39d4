"""The Fed Server: broadcasts the clients' model and updates it with the mean of their replies.

In this file the mean is the result of `Aggregation`: the weighted mean of the replies, or a robust one.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from heron.arrays import dtype_name
from heron.errors import MessageError, TrainingError
from heron.server.aggregation import Aggregation
from heron.server.fed_adam import FedAdam
from heron.server.fed_step import FedStep
from heron.server.finite import LARGEST, LARGEST_FP16, is_finite, is_within, require_finite
from heron.tensors import as_tensor
from heron.wire import Broadcast, Link, ModelBroadcast, Reply
from heron.wire.groups import Averaging
from heron.wire.terms import Terms
from heron.wire.update_codec import UpdateCodec


class FedServer:
    """Server of the tensors that clients train (and their buffers): it broadcasts them and averages the replies.

    Args:
        terms: names and roles of the tensors that travel, and the settings of the mean.
        tensors: their initial values by name; copied.

    Attributes:
        moments: state of the optimizer by name; empty before its first step.
        num_bounded: number of replies of the latest round that exceeded a bound.
        faults: number of faults of each kind in the latest round, of the Fed Server's own work.
        model: averaged tensors by name.
        downlink_only: tensors that are broadcast and not sent back, by name.
        optimizer: FedAdam of the mean, or a step towards it; None for the mean itself.
        aggregation: rule by which replies become one model.
    """

    def __init__(self, terms: Terms, tensors: Mapping[str, Tensor]) -> None:
        averaging = terms.settings.fed_server
        self.model = {name: tensors[name].detach().clone() for name in terms.sent_back}
        self.downlink_only = {name: tensors[name].detach().clone() for name in terms.received_only}
        self.moments: dict[str, Tensor] = {}
        self._weighting = terms.settings.clients.weighting
        self.optimizer = _optimizer(averaging)
        self._buffers = frozenset(terms.names("buffer", "unit_buffer"))
        self._units = terms.names("unit_buffer")
        self._codec = UpdateCodec.of(terms)
        self.aggregation = Aggregation(averaging.aggregation, averaging.trim, averaging.max_norm, averaging.max_scalar)
        self.num_bounded = 0
        self.faults: dict[str, int] = {}
        self._mean = self.aggregation.aggregator()
        self._losses: list[float] = []
        self._bounded: set[int] = set()

    def prepare(self, link: Link, round_index: int, participants: list[int]) -> None:  # noqa: ARG002 - see masks
        """Do what has to be done before the round's first broadcast.

        Args:
            link: reaches the clients.
            round_index: t, from 0.
            participants: the clients S_t, ascending.
        """
        self.faults = {}

    def forget_keys(self) -> None:
        """Forget what clients have sent of their secrets; these may be others from now on."""

    def settle(self, link: Link) -> None:
        """Do what has to be done between the last reply and the mean.

        Args:
            link: reaches the clients.
        """

    def broadcast(self, round_index: int, client_id: int) -> Broadcast:
        """The message that opens a client's round (round step 1).

        Args:
            round_index: t, from 0.
            client_id: whom it is for.
        """
        return self.snapshot(round_index, client_id)

    def snapshot(self, round_index: int, client_id: int) -> ModelBroadcast:
        """A broadcast for a client of unknown state: everything that the client needs.

        Args:
            round_index: t, from 0.
            client_id: whom it is for.
        """
        return ModelBroadcast(round_index, client_id, self.packed(self.global_model()))

    def packed(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Tensors as encoded for the downlink."""
        return tensors if self._codec is None else self._codec.pack_model(tensors)

    def global_model(self) -> dict[str, Tensor]:
        """Tensors that clients start a round from, by name; not copies."""
        return self.model | self.downlink_only

    def replace(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace tensors by those that another server has made, by name."""
        for held in (self.model, self.downlink_only):
            held.update({name: tensor for name, tensor in tensors.items() if name in held})

    def state(self) -> dict[str, dict[str, Tensor]]:
        """State that the next round depends on: groups of tensors by name, not copies."""
        return {"fed_server": self.model, "downlink_only": self.downlink_only, "fed_moments": self.moments}

    def load_state(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from a result of `state`, in which groups without tensors may be absent."""
        saved = {**groups.get("fed_server", {}), **groups.get("downlink_only", {})}
        self.model = {name: saved[name] for name in self.model}
        self.downlink_only = {name: saved[name] for name in self.downlink_only}
        self.moments = dict(groups.get("fed_moments", {}))

    def weight(self, reply: Reply) -> float:
        """Weight of a reply in the mean."""
        return 1.0 if self._weighting == "equal" else float(reply.num_examples)

    def accept(self, reply: Reply) -> None:
        """Add a client's reply to the running mean (round step 4).

        Raises:
            MessageError: if its tensors are not those of the model.
            TrainingError: if its loss or a tensor is not finite, or so large that a mean could be infinite.
        """
        received = {name: as_tensor(tensor, self.model[name].device) for name, tensor in self._checked(reply).items()}
        trained = {name: tensor for name, tensor in received.items() if name not in self._buffers}
        bounded, was_bounded = self.aggregation.bounded(trained, self.model)
        if was_bounded:
            self._bounded.add(reply.client_id)
        self._mean.add({**received, **bounded}, self.weight(reply))
        self._losses.append(float(reply.train_loss))

    def average(self) -> tuple[float, int]:
        """Make the mean of the round's replies the global model, or step towards it; without a reply keep the model.

        Returns:
            The clients' mean local loss (NaN without one) and the number of replies.

        Raises:
            TrainingError: if the model would no longer be finite; the model is then unchanged.
        """
        mean, moments = self._mean.take(), self.moments
        mean |= {name: normalize(mean[name], dim=0) for name in self._units if name in mean}
        if mean and self.optimizer is not None:
            trained = {name: tensor for name, tensor in mean.items() if name not in self._buffers}
            stepped, moments = self.optimizer.step(self.model, trained, moments)
            mean |= stepped
        require_finite(mean | moments)
        self.model |= mean
        self.moments = {**self.moments, **moments}  # of what nobody trained they stay
        losses, self._losses = self._losses, []
        self.num_bounded = len(self._bounded)
        self._bounded.clear()
        return (sum(losses) / len(losses) if losses else math.nan), len(losses)

    def check(self, reply: Reply) -> None:
        """Refuse what `accept` would refuse, without changing anything.

        Raises:
            MessageError: if its tensors are not those of the model.
            TrainingError: if its loss or a tensor is not finite.
        """
        self._checked(reply)

    def save_point(self) -> Callable[[], None]:
        """Return a function that undoes all later changes; a new global model is made of new tensors."""
        model, downlink_only, moments = dict(self.model), dict(self.downlink_only), dict(self.moments)

        def undo() -> None:
            self._mean.take()
            self._losses = []
            self._bounded.clear()
            self.model, self.downlink_only, self.moments = model, downlink_only, moments

        return undo

    def _checked(self, reply: Reply) -> dict[str, Tensor]:
        """Check a reply and unpack its tensors."""
        return self._unpacked(reply, self.model, self._codec)

    def _unpacked(self, reply: Reply, start: Mapping[str, Tensor], codec: UpdateCodec | None) -> dict[str, Tensor]:
        """Unpack the tensors of a reply, which are those of `start` after the round, and refuse others."""
        loss = float(reply.train_loss)
        model = reply.model if codec is None else codec.unpack_update(reply.model, start)
        tensors = {name: as_tensor(array) for name, array in model.items()}
        if _forms(start) != _forms(tensors):
            expected, found = _signature(start), _signature(tensors)
            odd = min(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise MessageError(
                f"reply of client {reply.client_id} in round {reply.round_index + 1}: {odd!r} should be "
                f"{expected.get(odd, 'absent')}, found {found.get(odd, 'none')}"
            )
        self._check_values(tensors, f"client {reply.client_id} in round {reply.round_index + 1} (local loss {loss})")
        if math.isinf(loss):
            raise TrainingError(
                f"expected a finite local loss of client {reply.client_id} in round {reply.round_index + 1}, found "
                f"{loss}; lower client.learning_rate or check its data"
            )
        return tensors

    def _check_values(self, tensors: Mapping[str, Tensor], who: str) -> None:
        """Refuse values that no mean could be taken of; statistics have no bound, but a codec's."""
        bound = LARGEST if self._codec is None else LARGEST_FP16
        for name, tensor in tensors.items():
            is_statistic = self._codec is None and name in self._buffers
            if is_finite(tensor) if is_statistic else is_within(tensor, bound):
                continue
            found = "NaN or infinity" if is_statistic else f"NaN, infinity or more than {bound:g}"
            raise TrainingError(
                f"expected a finite update, found {found} in {name!r} from {who}; lower client.learning_rate or check "
                f"its data"
            )


def _optimizer(averaging: Averaging) -> FedAdam | FedStep | None:
    if averaging.optimizer == "average":
        return None
    if averaging.optimizer == "step":
        return FedStep(averaging.learning_rate)
    return FedAdam(averaging.learning_rate, averaging.beta1, averaging.beta2, averaging.epsilon)


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def _signature(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Dtype and shape of every tensor: `float32 of shape (3, 4)`."""
    return {name: f"{dtype_name(tensor)} of shape {tuple(tensor.shape)}" for name, tensor in tensors.items()}
