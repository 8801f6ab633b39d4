"""The client app: Flower's messages in, replies of `ClientWork` out."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from heron.engines.clients import Clients
from heron.errors import ConfigError, HeronError, WithheldError
from heron.flower.client_store import ClientStore
from heron.flower.client_work import ClientWork, further_part
from heron.flower.log import say
from heron.flower.mask_answers import keeper_of, mask_answer
from heron.flower.node_secret import SECRET_KEY, check_examples, node_vault, run_vault
from heron.flower.records import (
    Identity,
    MaskQuestion,
    PartRequest,
    Refusal,
    RoundRequest,
    read_record,
    write_record,
)
from heron.privacy.node_vault import NOTHING, NodeVault
from heron.privacy.vault import Vault
from heron.wire.terms import Terms, decode_terms

if TYPE_CHECKING:
    from flwr.app import Context, Message
    from flwr.clientapp import ClientApp

ClientBuilder = Callable[[Terms, Mapping[str, Any], Vault | None], Clients]
"""Function that makes the clients' side of a run from its terms, this node's own settings and its secret."""
PARTITION_KEY = "partition-id"
_MAX_REASON = 500


def make_client_app(build: ClientBuilder) -> "ClientApp":
    """Make a client app that serves one client, the one that the node's configuration names.

    Between messages only the context keeps state: in a deployment every message has a process of its own, and in the
    simulation clients share processes.

    Args:
        build: function that makes the clients' side.
    """
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.query("identity")
    def identity(message: "Message", context: "Context") -> "Message":
        config = context.node_config
        return _replied(message, lambda: Identity(own_client_id(config), keeps_secret=SECRET_KEY in config))

    @app.train("round")
    def round_(message: "Message", context: "Context") -> "Message":
        return _replied(message, lambda: _work(message, context, build))

    @app.train("part")
    def part(message: "Message", context: "Context") -> "Message":
        def next_part() -> object:
            return further_part(ClientStore(context.state), read_record(message.content, PartRequest))

        return _replied(message, next_part)

    @app.train("masks")
    def masks(message: "Message", context: "Context") -> "Message":
        return _replied(message, lambda: _about_masks(message, context))

    return app


def own_client_id(node_config: Mapping[str, Any]) -> int:
    """The number of the client that a node serves.

    Raises:
        ConfigError: if the node's configuration does not name one.
    """
    client_id = node_config.get(PARTITION_KEY)
    if type(client_id) is not int or client_id < 0:
        raise ConfigError(
            f"expected {PARTITION_KEY} as an integer from 0 in the node's configuration, found {client_id!r}; start "
            f'the SuperNode with --node-config "{PARTITION_KEY}=0"'
        )
    return client_id


def _work(message: "Message", context: "Context", build: ClientBuilder) -> object:
    request = read_record(message.content, RoundRequest)
    client_id = _own(request, context)
    terms = decode_terms(request.terms.encode())
    total = terms.settings.clients.total
    if client_id >= total:
        raise ConfigError(f"expected {PARTITION_KEY} below clients.total = {total}, found {client_id}")
    vault = node_vault(request, terms, context.node_config, context.state)
    clients = build(terms, context.node_config, vault)
    check_examples(request, terms, len(clients.data(client_id)))
    if clients.masks is not None and isinstance(vault, NodeVault):
        clients.masks.keeper = keeper_of(vault, context.run_id, context.state)
    say("at work", run=context.run_id, round=request.round_index + 1, client=client_id, step=request.step)
    return ClientWork(clients, ClientStore(context.state)).reply(request)


def _about_masks(message: "Message", context: "Context") -> object:
    """Answer a question about masks, for which no network is built and no example is read."""
    question = read_record(message.content, MaskQuestion)
    _own(question, context)
    vault = run_vault(question.run, NOTHING, context.node_config, context.state)
    return mask_answer(keeper_of(vault, context.run_id, context.state), ClientStore(context.state), question)


def _own(request: RoundRequest | MaskQuestion, context: "Context") -> int:
    client_id = own_client_id(context.node_config)
    if request.client_id != client_id:
        raise ConfigError(f"expected a request for client {client_id}, which this node is, found {request.client_id}")
    return client_id


def _replied(message: "Message", work: Callable[[], object]) -> "Message":
    """Make the reply; a known mistake becomes a one-line refusal, any other error is left to Flower."""
    from flwr.app import Message

    try:
        record = work()
    except HeronError as error:
        fault = "withheld" if isinstance(error, WithheldError) else "declined"
        record = Refusal(fault, reason=" ".join(str(error).split())[:_MAX_REASON])
    return Message(write_record(record), reply_to=message)
