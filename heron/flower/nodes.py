"""Assignment of nodes to clients: every new node is asked once, and forgotten when it disconnects."""

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from heron.errors import MessageError
from heron.flower.log import say, warn
from heron.flower.records import Identity, read_record

if TYPE_CHECKING:
    from flwr.app import Message
    from flwr.serverapp import Grid

_POLL_S = 0.5


class Nodes:
    """The connected nodes, by client.

    The first node that claims a client serves it until the node disconnects; other nodes that claim it are ignored.

    Args:
        grid: Flower's access to the nodes.
        num_clients: number of clients, N.
        clock: returns seconds, ascending.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        grid: "Grid",
        num_clients: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._grid = grid
        self._num_clients = num_clients
        self._clock = clock
        self._sleep = sleep
        self._node_of: dict[int, int] = {}
        self._asked: dict[int, str] = {}
        self._useless: set[int] = set()
        self._keepers: set[int] = set()

    def node_of(self, client_id: int) -> int | None:
        """The node that serves a client, as of the latest `refresh`."""
        return self._node_of.get(client_id)

    def keeps_secret(self, client_id: int) -> bool:
        """Return whether the secret of a client's node is in a file."""
        return self._node_of.get(client_id) in self._keepers

    def forget(self, client_id: int) -> None:
        """Forget the node of a client, so that it is asked again."""
        self._node_of.pop(client_id, None)

    def wait_for(self, clients: Collection[int], enough: int, timeout_s: float) -> list[int]:
        """Wait until enough of these clients are connected; returns all that are, ascending.

        Args:
            clients: clients to wait for.
            enough: number of them that suffice.
            timeout_s: longest wait in seconds.
        """
        deadline = self._clock() + timeout_s
        while True:
            self.refresh()
            present = sorted(client_id for client_id in clients if client_id in self._node_of)
            if len(present) >= enough or self._clock() >= deadline:
                return present
            self._sleep(_POLL_S)

    def refresh(self) -> None:
        """Update the list of nodes; nodes that have not answered yet are heard at a later call."""
        connected = set(self._grid.get_node_ids())
        self._node_of = {client_id: node for client_id, node in self._node_of.items() if node in connected}
        self._asked = {node: message_id for node, message_id in self._asked.items() if node in connected}
        self._useless &= connected
        for node in sorted(connected - set(self._node_of.values()) - self._asked.keys() - self._useless):
            self._ask(node)
        for node, message_id in list(self._asked.items()):
            for message in self._grid.pull_messages([message_id]):
                del self._asked[node]
                self._hear(node, message)

    def _ask(self, node: int) -> None:
        from flwr.app import Message, RecordDict

        for message_id in self._grid.push_messages([Message(RecordDict(), node, "query.identity")]):
            if message_id:
                self._asked[node] = message_id

    def _hear(self, node: int, message: "Message") -> None:
        if message.has_error():
            warn("node did not say who it is", node=node, code=message.error.code)  # it is asked again
            return
        try:
            identity = read_record(message.content, Identity)
        except MessageError as error:
            self._leave_alone(node, str(error))
            return
        client_id = identity.client_id
        if not 0 <= client_id < self._num_clients:
            self._leave_alone(node, f"there is no client {client_id}, clients.total is {self._num_clients}")
        elif client_id in self._node_of:
            self._leave_alone(node, f"another node is client {client_id} already")
        else:
            self._node_of[client_id] = node
            self._keepers = self._keepers | {node} if identity.keeps_secret else self._keepers - {node}
            say("client joined", client=client_id, node=node)

    def _leave_alone(self, node: int, reason: str) -> None:
        self._useless.add(node)
        warn("node left alone", node=node, reason=reason)
