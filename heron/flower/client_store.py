"""State that a client keeps between messages: in the context of its app, by name, as bytes in heron's own formats.

- `state/ROUND`: the client's state after a round, for its next one. The server names the round whose state counts, the
  last one that it accepted; so a round can be repeated, and a reply that never arrived leaves no trace.
- `held/CLIENT`: the theta that the client received last, from which it catches up if replies contain scalars.
- `unsent`: a reply with pieces that have yet to be requested.
- `place`: the client's place in a coupled round.

In a deployment this state lasts as long as the SuperNode and the Flower run. A client that has lost it reports so, and
is sent theta as a snapshot.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array
from heron.client.progress import Progress
from heron.client.step import ClientState, StepResult
from heron.flower.records import CONTENT, MaskQuestion, Parcel, PartRequest, RoundRequest, byte_array
from heron.flower.stream import num_pieces, piece
from heron.wire import Answer, decode, encode
from heron.wire.blob import load_arrays, save_arrays
from heron.wire.packing import pack, unpack

if TYPE_CHECKING:
    from flwr.app import RecordDict

_STATE = "state/"
_HELD = "held/"
_UNSENT = "unsent"
_PLACE = "place"


class ClientStore:
    """A client's memory, which is also its store of theta (`heron.algorithms.TensorStore`).

    Args:
        records: the state of the app's context, changed in place.
    """

    def __init__(self, records: "RecordDict") -> None:
        self._records = records

    def kept_state(self, round_index: int) -> ClientState | None:
        """The client's state after a round; None if it has none of that round."""
        content = self._read(f"{_STATE}{round_index}")
        return None if content is None else load_arrays(content)

    def keep_state(self, round_index: int, state: ClientState, *, previous: int) -> None:
        """Keep the state of a round, and that of the round before it, in case the round must be repeated.

        Args:
            round_index: the round that has ended.
            state: the client's state now; an empty state is not kept.
            previous: the round whose state this round began with; states of other rounds are dropped.
        """
        stale = [name for name in self._records if name.startswith(_STATE) and name != f"{_STATE}{previous}"]
        for name in stale:
            del self._records[name]
        if state:
            self._write(f"{_STATE}{round_index}", save_arrays(state))

    def take(self, client_id: int) -> ClientState:
        """Return the theta that the client received last, and drop it; empty if there is none."""
        name = f"{_HELD}{client_id}"
        content = self._read(name)
        if content is None:
            return {}
        del self._records[name]
        return load_arrays(content)

    def keep(self, client_id: int, round_index: int, state: ClientState) -> None:  # noqa: ARG002 - named inside
        """Hold the theta of one round, in place of any other."""
        self._write(f"{_HELD}{client_id}", save_arrays(state))

    def keep_unsent(self, whole: Parcel, piece_bytes: int) -> None:
        """Keep a reply that is sent in pieces.

        Args:
            whole: a parcel whose content is the whole stream.
            piece_bytes: size of a piece.
        """
        facts = {field.name: getattr(whole, field.name) for field in fields(whole) if field.name != CONTENT}
        self._write(_UNSENT, whole.content, piece_bytes=piece_bytes, **facts)

    def first_piece(
        self,
        request: RoundRequest | MaskQuestion,
        content: bytes,
        *,
        finished: bool = False,
        keeps_state: bool = False,
        lost_state: bool = False,
        num_examples: int = 0,
        secret: str = "",
    ) -> Parcel:
        """Return the first piece of a reply, and keep the rest.

        Args:
            request: replied to.
            content: the whole reply.
            finished: as of `Parcel`, like the others.
            keeps_state: likewise.
            lost_state: likewise.
            num_examples: likewise.
            secret: likewise.
        """
        piece_bytes = request.max_reply_bytes
        whole = Parcel(
            round_index=request.round_index,
            client_id=request.client_id,
            step=request.step,
            part=0,
            num_parts=num_pieces(len(content), piece_bytes),
            num_bytes=len(content),
            finished=finished,
            keeps_state=keeps_state,
            lost_state=lost_state,
            num_examples=num_examples,
            secret=secret,
            content=content,
        )
        if whole.num_parts == 1:
            return whole
        self.keep_unsent(whole, piece_bytes)
        return replace(whole, content=piece(content, 0, piece_bytes))

    def part(self, request: PartRequest) -> Parcel | None:
        """A piece of the reply that is sent in pieces; None if there is no such reply."""
        stream = self._read(_UNSENT)
        if stream is None:
            return None
        facts = self._facts(_UNSENT)
        piece_bytes = facts.pop("piece_bytes")
        whole = Parcel(**facts, content=stream)
        same = (whole.round_index, whole.client_id, whole.step) == (
            request.round_index,
            request.client_id,
            request.step,
        )
        if not same or not 0 < request.part < whole.num_parts:
            return None
        return replace(whole, part=request.part, content=piece(stream, request.part, piece_bytes))

    def keep_place(
        self, place: tuple[int, int, int], model: ClientState, state: ClientState, progress: Progress
    ) -> None:
        """Keep the place in a coupled round.

        Args:
            place: (round, client, number of answers that the client has received).
            model: the client's parameters and buffers at the beginning of the current step.
            state: its optimiser state at that time.
            progress: the rest of its state.
        """
        results = {str(index): _of_result(result) for index, result in enumerate(progress.results)}
        answers = {str(index): np.frombuffer(encode(answer), np.uint8) for index, answer in enumerate(progress.answers)}
        arrays = pack(
            {"model": model, "state": state, "results": pack(results), "answers": answers, "start": progress.start}
        )
        round_index, client_id, num_answers = place
        self._write(
            _PLACE,
            save_arrays(arrays),
            round_index=round_index,
            client_id=client_id,
            num_answers=num_answers,
            num_results=len(progress.results),
        )

    def place(self, place: tuple[int, int, int]) -> tuple[ClientState, ClientState, Progress] | None:
        """The state saved by `keep_place` for this place; None if there is none."""
        content = self._read(_PLACE)
        if content is None:
            return None
        facts = self._facts(_PLACE)
        if (facts["round_index"], facts["client_id"], facts["num_answers"]) != place:
            return None
        groups = unpack(load_arrays(content))
        results = unpack(groups.get("results", {}))
        answers = groups.get("answers", {})
        progress = Progress(
            [_to_result(results.get(str(index), {})) for index in range(facts["num_results"])],
            [_answer(answers[str(index)]) for index in range(len(answers))],
            groups.get("start", {}),
        )
        return groups.get("model", {}), groups.get("state", {}), progress

    def forget(self, *, unsent: bool = False, place: bool = False) -> None:
        """Drop a reply that has been sent, or the place in a round that has ended."""
        for name in [_UNSENT] * unsent + [_PLACE] * place:
            for key in (name, f"{name}-facts"):
                if key in self._records:
                    del self._records[key]

    def _read(self, name: str) -> bytes | None:
        arrays = self._records.array_records.get(name)
        return None if arrays is None else bytes(arrays[CONTENT].data)

    def _write(self, name: str, content: bytes, **facts: Any) -> None:
        from flwr.app import ArrayRecord, ConfigRecord

        self._records[name] = ArrayRecord({CONTENT: byte_array(content)})
        if facts:
            self._records[f"{name}-facts"] = ConfigRecord(dict(facts))

    def _facts(self, name: str) -> dict[str, Any]:
        values: dict[str, Any] = dict(self._records.config_records[f"{name}-facts"])
        return values


def _of_result(result: StepResult) -> dict[str, Array]:
    found = {"loss": result.loss, "scalars": result.projected_gradients}
    return {name: array for name, array in found.items() if array is not None}


def _to_result(arrays: Mapping[str, Array]) -> StepResult:
    return StepResult(arrays.get("loss"), arrays.get("scalars"))


def _answer(content: NDArray[np.uint8]) -> Answer:
    answer = decode(content.tobytes())
    assert isinstance(answer, Answer)  # stored as one
    return answer
