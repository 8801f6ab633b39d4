"""The Flower engine: both servers in this process, each client on a node of Flower's.

A round is accepted as a whole or not at all. In a decoupled round every participant gets one message and sends
everything in reply. Replies are written to files and checked, then the servers read them in canonical order, so that
the order of arrival does not matter. In a coupled round clients take turns, with a message for every answer. If too few
participants succeed, the servers return to their state before the round and ask the missing clients again.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from heron.engines.round_result import RoundResult
from heron.engines.servers import Servers
from heron.errors import TrainingError
from heron.flower.courier import Courier, Delivery
from heron.flower.expected import Expected
from heron.flower.faults import FaultLog, TooFewError
from heron.flower.gather import Gatherer
from heron.flower.link import SpooledLink, StepwiseLink
from heron.flower.log import say, warn
from heron.flower.mask_exchange import MaskExchange
from heron.flower.nodes import Nodes
from heron.flower.requests import Requests
from heron.flower.run_notes import RunNotes
from heron.flower.settings import DeploymentSettings

if TYPE_CHECKING:
    from flwr.serverapp import Grid


class FlowerFederation:
    """Both servers, with clients that are reached by a grid.

    Args:
        servers: the servers' side.
        grid: Flower's access to the nodes.
        run_id: Flower's number of the run, for the log.
        settings: treatment of clients at fault.
        clock: returns seconds, ascending.
        sleep: waits for a number of seconds.

    Attributes:
        servers: the servers' side.
    """

    def __init__(
        self,
        servers: Servers,
        grid: "Grid",
        run_id: int,
        settings: DeploymentSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.servers = servers
        self._expected = Expected.of(servers.terms.upload)
        self._run_id = run_id
        self._settings = settings
        self._nodes = Nodes(grid, servers.num_clients, clock=clock, sleep=sleep)
        self._courier = Courier(grid, self._nodes, settings, clock=clock, sleep=sleep)
        # For each client that keeps state, the round of that state.
        self._state_round_of: dict[int, int] = {}
        self._notes = RunNotes(servers)
        self._requests = Requests(servers, self._state_round_of, settings.max_reply_bytes, self._notes)
        self._gatherer = Gatherer(servers, self._courier, self._requests, self._expected, retries=settings.retries)
        self._masks = MaskExchange(servers, self._courier, settings.max_reply_bytes, self._notes)
        self._everyone_had_time = False

    def run_round(self) -> RoundResult:
        """Run the next round.

        Returns:
            Outcome of the round.

        Raises:
            TrainingError: if too few participants succeeded in all attempts; the servers are then as they were before
                the round.
        """
        self._notes.begin_round()
        round_index = self.servers.next_round
        participants = self.servers.participants(round_index)
        enough = min(self._settings.min_clients or len(participants), len(participants))
        faults = FaultLog(self._run_id, round_index)
        deliveries: dict[int, Delivery] = {}
        for attempt in range(self._settings.retries + 1):
            say("round begins", run=self._run_id, round=round_index + 1, attempt=attempt, clients=len(participants))
            result = self._attempt(participants, enough, deliveries, faults)
            if result is not None:
                say("round is over", run=self._run_id, round=round_index + 1, replies=result.num_replies)
                if result.faults:
                    warn("no update", run=self._run_id, round=round_index + 1, reason=self._masks.no_update)
                counts = sorted([*result.faults.items(), *faults.counts.items()])
                return replace(result, participants=participants, faults=dict(counts))
        raise TrainingError(
            f"expected the rounds of at least {enough} of {len(participants)} clients in round {round_index + 1}, "
            f"found fewer in {self._settings.retries + 1} attempts: {faults.summary()}; {faults.advice()}"
        )

    def keep_states_in(self, folder: Path, run: str = "") -> None:
        """Keep notes of what was asked of clients with secrets in a folder; clients keep their state themselves.

        Args:
            folder: the folder.
            run: text by which this run is recognised, whatever number of rounds it has.
        """
        self._notes.keep_in(folder, run)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """State that the servers' next round depends on, and the round of each client's kept state.

        Clients keep their tensors themselves; an engine that continues the run elsewhere is asked for snapshots.
        """
        tensors, facts = self.servers.state()
        index = {str(client_id): self._state_round_of[client_id] for client_id in sorted(self._state_round_of)}
        return tensors, facts | {"client_states": index, "held": {}} | self._notes.state()

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a result of `state`, of this or of the in-process engine.

        Args:
            tensors: tensors of the result.
            facts: its other values.
        """
        self.servers.load_state(tensors, facts)
        self._notes.load_state(facts)
        self.servers.fed_server.forget_keys()  # in another run of Flower's clients have others
        self._state_round_of.clear()
        self._state_round_of |= {int(client_id): int(number) for client_id, number in facts["client_states"].items()}

    def checkpointed(self) -> None:
        """Do nothing: no files here depend on a checkpoint."""

    def _attempt(
        self, participants: list[int], enough: int, deliveries: dict[int, Delivery], faults: FaultLog
    ) -> RoundResult | None:
        """Try the round once; returns None, with the servers unchanged, if too few clients succeed.

        Args:
            participants: the clients S_t, ascending.
            enough: number of clients that suffice.
            deliveries: replies from earlier attempts; new ones are added, and those that do not count are removed.
            faults: log of clients at fault.
        """
        servers, is_coupled = self.servers, self.servers.algorithm.answers is not None
        called = self._masks.seated() or participants
        missing = [client_id for client_id in called if client_id not in deliveries]
        present = self._present(missing, enough - len(deliveries), faults)
        link: SpooledLink | StepwiseLink
        if is_coupled:
            members = completing = present
            link = StepwiseLink(
                servers, self._courier, self._requests, self._expected, faults, retries=self._settings.retries
            )
        else:
            self._gatherer.gather(self._masks.seat(present, enough, faults), deliveries, faults)
            completing = sorted(deliveries)
            members = self._masks.seated() or completing
            link = SpooledLink(servers, deliveries, faults, self._masks, enough)
        if len(completing) < enough:
            return None
        undo = servers.save_point()
        try:
            result: RoundResult | None = servers.run_round(link, members, is_charged=True)
        except TooFewError:
            result = None
        except TrainingError:
            undo()
            raise
        for client_id in deliveries.keys() - link.completed.keys():
            del deliveries[client_id]
        if result is None or len(link.completed) < enough:
            undo()
            return None
        for client_id, facts in link.completed.items():
            servers.client_examples += facts.num_examples
            self._state_round_of.pop(client_id, None)
            if facts.keeps_state:
                self._state_round_of[client_id] = result.round_index
        return result

    def _present(self, missing: Collection[int], enough: int, faults: FaultLog) -> list[int]:
        """Clients that are connected; waits for enough of them, and at first for all possible ones."""
        timeout_s = self._settings.round_timeout_s
        if not self._everyone_had_time:
            self._nodes.wait_for(range(self.servers.num_clients), self.servers.num_clients, timeout_s)
            self._everyone_had_time = True
        present = self._nodes.wait_for(missing, enough, timeout_s)
        for client_id in sorted(set(missing) - set(present)):
            faults.add(client_id, "absent")
        return present
