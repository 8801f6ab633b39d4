"""The clients' side of a federation, without a link: the clients, their data, and a round of one of them."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heron.arrays import Array
from heron.client.attendance import Attendance, attendance
from heron.client.local_plan import BEGINNING, ClientData, Progress
from heron.client.opening import Opener
from heron.client.round import BeforeStep, client_round
from heron.client.step import ClientLearner, ClientState
from heron.data import Examples, num_batched, num_local_steps
from heron.engines.resident import Resident
from heron.wire import Answer, Broadcast, FromClient, Reply


@dataclass(frozen=True)
class Attended:
    """End of a client's round.

    Attributes:
        state: the client's state for its next round; empty if it dropped out.
        num_examples: number of examples it has trained on, even if it dropped out after its last step.
    """

    state: ClientState
    num_examples: int


ClientConversation = Generator[FromClient, Answer | None, Attended]


class Clients:
    """All clients whose data this process holds; they use one resident network, one at a time.

    Args:
        resident: the network and the learner.
        dataset: training examples.
        partition: each client's positions in the data set, shape (n_i,) each.
    """

    def __init__(self, resident: Resident, dataset: Examples, partition: Sequence[np.ndarray]) -> None:
        self.resident = resident
        self.dataset = dataset
        self.partition = list(partition)

    def data(self, client_id: int) -> ClientData:
        """A client's examples."""
        return ClientData(self.dataset, self.partition[client_id])

    def fate(self, round_index: int, client_id: int, num_steps: int) -> Attendance:
        """Draw how far a client attends a round of `num_steps` local steps."""
        settings = self.resident.settings
        return attendance(settings.clients, settings.seed, round_index, client_id, num_steps)

    def attend(
        self,
        broadcast: Broadcast,
        state: Mapping[str, Array],
        opener: Opener | None,
        progress: Progress = BEGINNING,
        before_step: BeforeStep = lambda _: None,
        learner: ClientLearner | None = None,
    ) -> ClientConversation:
        """Run the round of the client that a broadcast names, as far as it attends.

        Yields its uploads in order, then its reply unless it drops out; in coupled rounds an upload is answered. No
        variable here holds smashed data across a `yield`.

        Args:
            broadcast: the message that opens the round.
            state: the client's state from its last round; the client takes over its arrays.
            opener: makes the model from the broadcast, if replies contain scalars.
            progress: place in the round, as in `client_round`.
            before_step: called before each local step, as in `client_round`.
            learner: replaces the resident learner, which it wraps.
        """
        client_id, plan = broadcast.client_id, self.resident.local_plan()
        data = self.data(client_id)
        num_steps = num_local_steps(len(data.indices), plan.batch_size, plan.local_steps)
        fate = self.fate(broadcast.round_index, client_id, num_steps)
        steps = client_round(
            learner or self.resident.learner,
            broadcast,
            state,
            data,
            plan,
            fate.max_steps,
            opener,
            progress,
            before_step,
        )
        del broadcast, state  # the client alone keeps them, and may free them
        num_examples = 0
        answer: Answer | None = None
        while True:
            try:
                parcel = [steps.send(answer)]
            except StopIteration as stop:
                return Attended(stop.value, num_examples)
            if isinstance(parcel[0], Reply):
                num_examples = num_batched(len(data.indices), plan.batch_size, parcel[0].num_steps)
                if not fate.replies:
                    return Attended({}, num_examples)
            answer = yield parcel.pop()
