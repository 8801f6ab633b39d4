"""A client's work on one message, without Flower: a decoupled round, or a coupled one up to its next upload.

A process may end after every message. In a coupled round the client then repeats the current step from its beginning:
with the same parameters, seeds and answers, it is the same step.
"""

import dataclasses
from collections.abc import Sequence

from heron.arrays import copied
from heron.client.progress import BEGINNING, Progress
from heron.client.step import ClientState, StepResult
from heron.engines.clients import Attended, Clients
from heron.errors import MessageError, UnchargedError
from heron.flower.client_store import ClientStore
from heron.flower.records import Parcel, PartRequest, Refusal, RoundRequest
from heron.flower.stream import Stream, frame, read_single
from heron.wire import Answer, Broadcast, ModelBroadcast, Reply, SnapshotRequest, decode
from heron.wire.learning import with_fixed


class ClientWork:
    """A client's work on one message.

    Args:
        clients: the clients' side.
        store: state that this client keeps between messages.
    """

    def __init__(self, clients: Clients, store: ClientStore) -> None:
        self._clients = clients
        self._store = store
        self._bundle = clients.terms.settings.link.bundle

    def reply(self, request: RoundRequest) -> Parcel | Refusal:
        """Do the work of a request, up to the first piece of the reply.

        Raises:
            MessageError: if the request cannot be decoded, or belongs to another algorithm.
        """
        self._store.forget(unsent=True)
        if self._clients.algorithm.answers is None:
            return self._whole_round(request)
        return self._next_upload(request)

    def _whole_round(self, request: RoundRequest) -> Parcel | Refusal:
        broadcast, state, lost = self._begin(request)
        conversation = self._clients.attend(broadcast, state, self._clients.opener(self._store))
        del broadcast, state  # the client alone keeps them, and may free them
        stream = Stream(bundle=self._bundle)
        while True:
            try:
                parcel = [next(conversation)]
            except StopIteration as stop:
                answer = stream.close()
                self._close(request, answer)
                return self._finished(request, answer, stop.value, lost_state=lost)
            except UnchargedError as error:
                if not lost:
                    raise
                return Refusal(fault="lost_state", reason=f"{error}; it has lost its kept state since it last released")
            if isinstance(parcel[0], SnapshotRequest):
                return self._asking(request, parcel[0], lost_state=lost)
            stream.add(parcel.pop())

    def _close(self, request: RoundRequest, answer: bytes) -> None:
        """Note what the round is answered with; under masks what they cover: a resumed run has others."""
        clients, place = self._clients, (request.round_index, request.client_id)
        if clients.vault is not None:
            clients.vault.close_round(*place, answer if clients.masks is None else clients.masks.keeper.covered(*place))

    def _next_upload(self, request: RoundRequest) -> Parcel | Refusal:
        clients = self._clients
        # Between steps an optimiser state exists even if the next round does not begin with it.
        settings = with_fixed(clients.learning.settings, {"client": {"keep_state": True}})
        keeps_all = dataclasses.replace(clients.learning, settings=settings)
        clients.learner = clients.algorithm.client(clients.runtime, keeps_all)
        place = (request.round_index, request.client_id, request.step)
        if request.step == 0:
            broadcast, state, lost = self._begin(request)
            progress, opener = BEGINNING, clients.opener(self._store)
        else:
            kept = self._store.place((*place[:2], request.step - 1))
            if kept is None:
                return Refusal(fault="lost", reason="it has lost its place in the round")
            model, state, progress = kept
            broadcast, lost, opener = ModelBroadcast(*place[:2], model), False, None
            results = [self._received(result) for result in progress.results]
            answers = [*progress.answers, _answer(request.content)]
            progress = dataclasses.replace(progress, results=results, answers=answers)
        step = _StepAtHand(self._clients, progress)
        conversation = self._clients.attend(broadcast, state, opener, progress, step.begins)
        try:
            message = next(conversation)
        except StopIteration as stop:  # the client drops out
            return self._finished(request, b"", stop.value, lost_state=lost)
        if isinstance(message, SnapshotRequest):
            return self._asking(request, message, lost_state=lost)
        if not isinstance(message, Reply):
            self._store.keep_place(place, step.model, step.state, step.progress)
            return self._parcel(request, frame(message), lost_state=lost)
        stream = frame(message)
        try:
            next(conversation)
        except StopIteration as stop:
            return self._finished(request, stream, stop.value, lost_state=lost)
        raise AssertionError  # the reply is the last message of a round

    def _begin(self, request: RoundRequest) -> tuple[Broadcast, ClientState, bool]:
        """The broadcast, the client's state, and whether that state is lost, in which case an empty one replaces it."""
        broadcast = read_single(request.content, bundle=self._bundle)
        if not isinstance(broadcast, Broadcast):
            raise MessageError(f"expected a broadcast to open a round, found {type(broadcast).__name__}")
        if (broadcast.round_index, broadcast.client_id) != (request.round_index, request.client_id):
            raise MessageError("expected the broadcast of the request's round and client, found another one")
        self._store.forget(place=True)
        if request.state_round < 0:
            return broadcast, {}, False
        state = self._store.kept_state(request.state_round)
        return broadcast, state or {}, state is None

    def _received(self, result: StepResult) -> StepResult:
        """Make the arrays of a kept result those of the client's runtime."""
        receive = self._clients.runtime.receive
        loss, scalars = (
            None if array is None else receive(array) for array in (result.loss, result.projected_gradients)
        )
        return dataclasses.replace(result, loss=loss, projected_gradients=scalars)

    def _asking(self, request: RoundRequest, message: SnapshotRequest, *, lost_state: bool) -> Parcel:
        """Ask for a snapshot, because the broadcast is of no use; the round is over and the client's state stays."""
        stream = Stream(bundle=self._bundle)
        stream.add(message)
        return self._parcel(request, stream.close(), lost_state=lost_state, ended=Attended({}, 0))

    def _finished(self, request: RoundRequest, stream: bytes, ended: Attended, *, lost_state: bool) -> Parcel:
        state = ended.state if self._clients.learning.client.keep_state else {}
        self._store.forget(place=True)
        self._store.keep_state(request.round_index, state, previous=request.state_round)
        return self._parcel(request, stream, lost_state=lost_state, ended=ended, keeps_state=bool(state))

    def _parcel(
        self,
        request: RoundRequest,
        stream: bytes,
        *,
        lost_state: bool,
        ended: Attended | None = None,
        keeps_state: bool = False,
    ) -> Parcel:
        """Send the first piece of a stream; the rest is kept."""
        return self._store.first_piece(
            request,
            stream,
            finished=ended is not None,
            keeps_state=keeps_state,
            lost_state=lost_state,
            num_examples=0 if ended is None else ended.num_examples,
            secret="" if self._clients.vault is None else self._clients.vault.secret.digest(),
        )


def further_part(store: ClientStore, request: PartRequest) -> Parcel | Refusal:
    """Return a further piece of a reply that was too long for one."""
    return store.part(request) or Refusal(fault="lost", reason="it has lost the rest of its reply")


class _StepAtHand:
    """Copy of a client's parameters and optimiser state at the beginning of the latest step.

    Args:
        clients: the clients' side, with the learner in use.
        progress: place in the round when this message arrived.
    """

    def __init__(self, clients: Clients, progress: Progress) -> None:
        self._clients = clients
        self._came_with = progress
        self.model: ClientState = {}
        self.state: ClientState = {}
        self.progress = progress

    def begins(self, results: Sequence[StepResult]) -> None:
        """A step begins: copy what it begins with."""
        learner = self._clients.learner
        self.model = {name: copied(array) for name, array in self._clients.runtime.tensors().items()}
        self.state = {name: copied(array) for name, array in learner.state().items()}
        same_step = len(results) == len(self._came_with.results)
        start = self._came_with.start
        terms = self._clients.terms
        if self._came_with is BEGINNING and terms.settings.update_codec != "fp32":
            start = {name: self.model[name] for name in terms.sent_back}
        self.progress = Progress(list(results), self._came_with.answers if same_step else (), start)


def _answer(content: bytes) -> Answer:
    answer = decode(content)
    if not isinstance(answer, Answer):
        raise MessageError(f"expected an answer to an upload, found {type(answer).__name__}")
    return answer
