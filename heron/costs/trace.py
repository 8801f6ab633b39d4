"""Record of every message and computation of a round's clients, from which simulated time is derived.

Messages are recorded where the channel counts them, computation where the learner does it. No algorithm, protocol or
type of message is known here.
"""

from collections.abc import Mapping, Sequence

from heron.arrays import Array
from heron.client.step import ClientLearner, ClientState, Perturbed, StepGenerator, StepResult
from heron.costs.network import LinkModel
from heron.costs.round_time import Compute, Event, Receive, Send, Serve, Timeline, round_seconds
from heron.data import Batch
from heron.seeds import StepKey
from heron.wire import Direction


class RoundTrace:
    """The events of a round, client after client.

    Args:
        model: devices and links of the clients.
    """

    def __init__(self, model: LinkModel) -> None:
        self._model = model
        self._timelines: list[Timeline] = []
        self._events: list[Event] = []
        self._num_served = 0
        self._client_id: int | None = None
        self._earlier_s = 0.0
        self._flops = model.flops

    def begin_client(self, client_id: int) -> None:
        """Start the events of a client; its second conversation in a round continues after its first."""
        if self._timelines and self._client_id == client_id:
            return
        self._client_id = client_id
        self._flops = self._model.flops_of(client_id)
        self._events = []
        self._num_served = 0
        self._timelines.append(Timeline(self._model.device(client_id), self._events))

    def begin_phase(self) -> None:
        """Start a part of the round that begins when everybody is done with the part before."""
        self._earlier_s += self._phase_seconds()
        self._client_id = None

    def message(self, direction: Direction, num_bytes: int) -> None:
        """Record a message that has passed the channel."""
        self._events.append(Send(num_bytes) if direction == "uplink" else Receive(num_bytes))

    def computed(self, segment: int, num_examples: int) -> None:
        """Record that the client has computed one segment of a local step, up to the next tensor that it yields.

        Args:
            segment: number of the segment in the step, from 0.
            num_examples: number of examples in the batch.
        """
        flops = self._flops
        if flops is not None:
            self._events.append(Compute(flops.client[segment] * num_examples / flops.batch_size))

    def served(self, num_examples: int) -> None:
        """Record that the Main Server computes with an upload from the latest message.

        Args:
            num_examples: number of examples in the upload.
        """
        flops = self._flops
        # A step either uploads nothing or uploads every tensor that it yields, in order.
        cost = 0.0
        if flops is not None:
            cost = flops.server[self._num_served % len(flops.server)] * num_examples / flops.batch_size
        self._num_served += 1
        self._events.append(Serve(cost))

    def take_seconds(self) -> float:
        """Simulated time of the events since the last call."""
        self.begin_phase()
        seconds, self._earlier_s = self._earlier_s, 0.0
        return seconds

    def _phase_seconds(self) -> float:
        timelines, self._timelines = self._timelines, []
        return round_seconds(timelines, self._model.server_flops_per_s)


class TracedLearner:
    """Wrapper of a client's learning that records its computation and passes everything else through.

    Args:
        learner: the algorithm's client.
        trace: record of the round.
    """

    def __init__(self, learner: ClientLearner, trace: RoundTrace) -> None:
        self._learner = learner
        self._trace = trace

    def load(self, model: Mapping[str, Array], state: ClientState) -> None:
        """Delegate to the learner."""
        self._learner.load(model, state)

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Run one local step; no variable keeps the tensors that it yields alive."""
        step = self._learner.step(batch, key)
        answer: Array | None = None
        segment = 0
        while True:
            parcel: list[Array | Perturbed | None] = []
            try:
                parcel.append(step.send(answer))
            except StopIteration as stop:
                result: StepResult = stop.value
                return result
            finally:
                self._trace.computed(segment, len(batch))
            segment += 1
            answer = yield parcel.pop()

    def receive(self, array: Array) -> Array:
        """Delegate to the learner."""
        return self._learner.receive(array)

    def model(self) -> Mapping[str, Array]:
        """Delegate to the learner."""
        return self._learner.model()

    def replayed(self) -> tuple[str, ...]:
        """Names of the learner's replayed tensors."""
        return self._learner.replayed()

    def state(self) -> ClientState:
        """State of the learner."""
        return self._learner.state()

    def resident(self) -> Mapping[str, Sequence[Array]]:
        """Delegate to the learner."""
        return self._learner.resident()
