"""The messages between Client, Main Server and Fed Server. Plain frozen records; no transport, no bytes.

Arrays in them are NumPy arrays or torch tensors, of any device: those that the sender's code computes with. Encoding
turns them into bytes, decoding gives NumPy arrays; who computes with tensors converts by `heron.tensors.as_tensor`.

`B` examples of a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heron.arrays import Array
from heron.wire.mask_messages import MaskAnswer, MaskRequest

Scalar = Array | np.float32
"""One float32 of shape (): an array, or NumPy's own scalar."""

MAX_EXAMPLES = 2**31 - 1
"""Largest number of examples that a reply may count; weights are int32 in a log that is sent."""


@dataclass(frozen=True, slots=True)
class ModelBroadcast:
    """Fed Server to client: the model that opens the client's round (HERON-SFL, round step 1).

    Attributes:
        round_index: t, from 0.
        client_id: receiver, from 0.
        model: tensors by name: theta_l and its buffers, as far as the algorithm trains them.
    """

    round_index: int
    client_id: int
    model: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class ScalarBroadcast:
    """Fed Server to client, in place of `ModelBroadcast`: how to get to theta from one that the client holds.

    Attributes:
        round_index: t, from 0.
        client_id: receiver, from 0.
        base_round: the client is known to hold the theta of this round, or of a later one.
        digest: of theta of round t (`heron.wire.digests`), > 0; 0 where none is sent.
        entries: round, schedule, weight and number of scalars of each walk since, int32, shape (n, 4).
        scalars: projected gradients of these walks, shape (P,).
        model: tensors by name that the walks do not tell: what is trained exactly, buffers.
    """

    round_index: int
    client_id: int
    base_round: int
    digest: int
    entries: Array
    scalars: Array
    model: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """Client to Fed Server, in answer to a `ScalarBroadcast` that is of no use to it: send the model itself.

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
    """

    round_index: int
    client_id: int


@dataclass(frozen=True, slots=True)
class SmashedData:
    """Client to Main Server: the activations at the cut and the labels of one local step (round step 2).

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
        local_step: from 0 within the round.
        smashed: z = f_c(x), shape (B, ...).
        labels: y, shape (B, ...).
    """

    round_index: int
    client_id: int
    local_step: int
    smashed: Array
    labels: Array


@dataclass(frozen=True, slots=True)
class PackedData:
    """Client to Main Server, in place of `SmashedData`: the same in few bytes (`heron.wire.smashed`).

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
        local_step: from 0 within the round.
        packed: z, as `heron.wire.quantiser.pack_tensor` writes it.
        labels: y, shape (B, ...), integers in the narrowest dtype that holds them.
    """

    round_index: int
    client_id: int
    local_step: int
    packed: Mapping[str, Array]
    labels: Array


@dataclass(frozen=True, slots=True)
class ProbeData:
    """Client to Main Server, where the server evaluates probes: smashed data at perturbed parameters (HOSL).

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
        local_step: from 0 within the round.
        probe: which of the step's, from 0.
        smashed: z = f_c(x; v + mu u), shape (B, ...).
        labels: y, shape (B, ...); with every probe, so that answering one needs no memory of another.
    """

    round_index: int
    client_id: int
    local_step: int
    probe: int
    smashed: Array
    labels: Array


@dataclass(frozen=True, slots=True)
class CutGradient:
    """Main Server to client, in coupled rounds: the gradient of its loss at the cut (Thapa et al., AAAI 2022).

    Attributes:
        round_index: t, from 0.
        client_id: receiver, from 0.
        local_step: the step whose smashed data it answers.
        gradient: d loss / d z, shape of the smashed data.
    """

    round_index: int
    client_id: int
    local_step: int
    gradient: Array


@dataclass(frozen=True, slots=True)
class LossAnswer:
    """Main Server to client, where the server evaluates probes: the loss of one upload (HOSL).

    Attributes:
        round_index: t, from 0.
        client_id: receiver, from 0.
        local_step: the step whose upload it answers; uploads are answered in order.
        loss: l(f_s(z), y), shape (), float32.
    """

    round_index: int
    client_id: int
    local_step: int
    loss: Scalar


@dataclass(frozen=True, slots=True)
class ClientReply:
    """Client to Fed Server: what the client has become after its local steps (round step 4).

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
        num_examples: size of the client's data set.
        num_steps: local steps made, h.
        train_loss: mean local loss, shape (), float32; NaN where the client computes none.
        model: tensors by name, like the broadcast's.
    """

    round_index: int
    client_id: int
    num_examples: int
    num_steps: int
    train_loss: Scalar
    model: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class ScalarReply:
    """Client to Fed Server, in place of `ClientReply`: the scalars that its zeroth-order update is made of.

    Attributes:
        round_index: t, from 0.
        client_id: sender, from 0.
        num_examples: size of the client's data set.
        num_steps: local steps made, h.
        train_loss: mean local loss, shape (), float32; NaN where the client computes none.
        projected_gradients: step after step, one for each of its q probes, shape (h q,), float32; with `secure_sum`
            all that is added up, under masks, int64 (`heron.wire.masked_sums`).
        model: tensors by name that the scalars do not tell: what is trained exactly, buffers.
    """

    round_index: int
    client_id: int
    num_examples: int
    num_steps: int
    train_loss: Scalar
    projected_gradients: Array
    model: Mapping[str, Array]


Broadcast = ModelBroadcast | ScalarBroadcast
"""A message from the servers that opens a client's round."""
Upload = SmashedData | PackedData | ProbeData
"""Smashed data and labels of a local step, in one of three forms."""
Answer = CutGradient | LossAnswer
"""A message from the Main Server for an upload, in coupled rounds."""
Reply = ClientReply | ScalarReply
"""A client's last message of a round: what it trained."""
FromClient = Upload | Reply | SnapshotRequest
"""Any message of a client."""
Message = Broadcast | FromClient | Answer | MaskRequest | MaskAnswer
"""Any message."""
