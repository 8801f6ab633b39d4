"""A node's part of sums under masks: keys of this run of Flower's, what is kept between messages, answers.

Keys and masks follow from the node's secret and the number of the Flower run. So a run that is resumed, which may
repeat a round with another model, has other masks; and within a run a client covers its values once in a round
(`heron.client.mask_keeper`).
"""

from typing import TYPE_CHECKING

import numpy as np

from heron.client.mask_keeper import MaskKeeper, MaskState
from heron.errors import MessageError
from heron.flower.client_store import ClientStore
from heron.flower.records import CONTENT, MaskQuestion, Parcel, Refusal, byte_array
from heron.flower.stream import read_single, write_single
from heron.privacy.node_vault import NodeVault
from heron.wire.blob import load_arrays, save_arrays
from heron.wire.mask_messages import KeyRequest, Unmasking
from heron.wire.masked_sums import peer_rows, peers_of

if TYPE_CHECKING:
    from flwr.app import RecordDict

    from heron.arrays import Array

_STATE = "masks/"


class StoredStates:
    """Memory of a client's states in the context of its app.

    Args:
        records: the state of the context, changed in place.
    """

    def __init__(self, records: "RecordDict") -> None:
        self._records = records

    def mask_state(self, client_id: int) -> MaskState | None:
        """Return what a client remembers; None for nothing."""
        stored = self._records.array_records.get(f"{_STATE}{client_id}")
        if stored is None:
            return None
        arrays = load_arrays(bytes(stored[CONTENT].data))
        arrived = arrays["arrived"]
        return MaskState(
            int(arrays["round"][0]),
            peers_of(arrays["peers"], "kept neighbours"),
            arrays["covered"].tobytes(),
            tuple(arrived.astype(bool).tolist()) if len(arrived) else None,
        )

    def keep_mask_state(self, client_id: int, state: MaskState) -> None:
        """Remember a state, in place of an earlier one."""
        from flwr.app import ArrayRecord

        arrays: dict[str, Array] = {
            "round": np.array([state.round_index], np.int64),
            "peers": peer_rows(state.peers),
            "covered": np.frombuffer(state.covered, np.uint8),
            "arrived": np.array(state.arrived or (), np.uint8),
        }
        self._records[f"{_STATE}{client_id}"] = ArrayRecord({CONTENT: byte_array(save_arrays(arrays))})


def keeper_of(vault: NodeVault, run_id: int, records: "RecordDict") -> MaskKeeper:
    """Return the keeper of a node's masks in one run of Flower's.

    Args:
        vault: of the node, for the run.
        run_id: Flower's number of the run; one that is resumed has another.
        records: the state of the context of its app.
    """

    def commit(round_index: int, subject: str, content: bytes) -> None:
        vault.journal.commit(round_index, f"{subject}/{run_id}", content)

    of_run = vault.secret.bound("flower run", str(run_id).encode())
    return MaskKeeper(of_run.of, StoredStates(records), commit)


def mask_answer(keeper: MaskKeeper, store: ClientStore, question: MaskQuestion) -> Parcel | Refusal:
    """Answer a question about masks.

    Args:
        keeper: the client's keys and states.
        store: keeps the rest of a long answer.
        question: the server's.

    Raises:
        MessageError: if it cannot be decoded, is of another round, or must not be answered.
    """
    request = read_single(question.content, bundle=question.bundle)
    asked = (question.round_index, question.client_id)
    if not isinstance(request, KeyRequest | Unmasking) or (request.round_index, request.client_id) != asked:
        raise MessageError("expected a question about masks of the record's round and client, found another message")
    if isinstance(request, Unmasking) and not keeper.covered(*asked):
        return Refusal(fault="lost", reason="it has lost the masks of this round, or has had none")
    content, _ = write_single(keeper.answer(request), bundle=question.bundle)
    return store.first_piece(question, content)
