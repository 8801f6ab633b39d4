"""Clients whose order boundaries differ: terms and a resident network for each boundary, in one process.

A client's boundary is that of its class of devices (`client.exact=device`). Clients with one boundary take turns in a
network of their own, as all clients of a uniform run do in one.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heron.algorithms import Algorithm
from heron.client.progress import ClientData
from heron.client.torch_runtime.network import Parts
from heron.data import Batch
from heron.engines.agreement import agree
from heron.engines.clients import Clients
from heron.engines.runtimes import make_runtime
from heron.errors import ConfigError
from heron.privacy.vault import Vault
from heron.split import ClientPart, SplitModel
from heron.split.criterion import Criterion
from heron.wire.fleet import Exact, Fleet, Member, exact_of, joined, with_exact
from heron.wire.groups import Settings
from heron.wire.terms import Terms


@dataclass(frozen=True)
class Agreed:
    """Terms of a run's parties.

    Attributes:
        terms: of the servers, and of all clients where they have one boundary.
        fleet: boundaries and terms of the clients; None where all have one.
    """

    terms: Terms
    fleet: Fleet | None = None


def agree_all(
    split: SplitModel, algorithm: Algorithm, settings: Settings, criterion: Criterion, example: Batch
) -> Agreed:
    """Compute the terms of a run whose clients may be a fleet; arguments as of `agree`.

    Raises:
        SplitError: if the network cannot be trained this way.
        ConfigError: if settings contradict each other or the algorithm, or a fleet cannot have them.
    """
    if not is_fleet(algorithm, settings):
        return Agreed(agree(split, algorithm, settings, criterion, example))
    check_fleet(settings)
    boundaries: list[Exact] = sorted(
        {exact_of(settings, client_id) for client_id in range(settings.clients.total)},
        key=lambda exact: (exact == "all", exact),
    )
    chosen = {exact: with_exact(settings, exact) for exact in boundaries}
    alone = {exact: agree(split, algorithm, own, criterion, example) for exact, own in chosen.items()}
    terms, own_terms = joined(settings, alone)
    members = {exact: Member(own_terms[exact], algorithm.learning(own)) for exact, own in chosen.items()}
    return Agreed(terms, Fleet(settings, members))


def is_fleet(algorithm: Algorithm, settings: Settings) -> bool:
    """Return whether clients have the boundaries of their devices; algorithms without a boundary ignore it."""
    return algorithm.has_boundary and settings.client.exact == "device"


class Residents:
    """The clients of one process: all in one network, or in one for each boundary of a fleet.

    Args:
        agreed: the terms.
        algorithm: the row that they name.
        split: the cut network; a uniform run's clients train their part of it in place, a fleet's train copies.
        criterion: mean loss over a batch.
        examples: a few, with which an export is made and checked.
        data: the examples of each client, by its id.
        vault: keeps the secret of this device; None where it has none.
    """

    def __init__(
        self,
        agreed: Agreed,
        algorithm: Algorithm,
        split: SplitModel,
        criterion: Criterion,
        examples: Batch,
        data: Mapping[int, ClientData],
        vault: Vault | None,
    ) -> None:
        self._fleet = agreed.fleet
        if self._fleet is None:
            runtime: Any = make_runtime(agreed.terms, split, criterion, examples)
            self._by_exact: dict[Exact | None, Clients] = {None: Clients(agreed.terms, algorithm, runtime, data, vault)}
            return
        self._by_exact = {
            exact: Clients(
                member.terms,
                algorithm,
                algorithm.torch_runtime(_own_parts(split, algorithm), criterion, member.terms.settings),
                data,
                vault,
            )
            for exact, member in self._fleet.members.items()
        }

    def of(self, client_id: int) -> Clients:
        """Return the clients among whom a client is at work."""
        return self._by_exact[None if self._fleet is None else self._fleet.exact_of(client_id)]


def _own_parts(split: SplitModel, algorithm: Algorithm) -> Parts:
    """Copy what a client holds of the network; in training mode, as no evaluation runs in it."""
    held = split if algorithm.head == "server" else ClientPart(split.client, split.auxiliary, split.local_heads)
    return copy.deepcopy(held).train()


def check_fleet(settings: Settings) -> None:
    """Refuse what clients with different boundaries cannot have.

    Args:
        settings: of a run with `client.exact=device`.

    Raises:
        ConfigError: naming the key.
    """
    client = settings.client
    if not settings.link.devices:
        raise ConfigError(
            "expected classes of devices in link.profile with client.exact=device, found none; set it, or a number"
        )
    if client.runtime != "torch":
        raise ConfigError(
            f"expected client.runtime=torch with client.exact=device, found {client.runtime}; set it, or one "
            f"client.exact for all"
        )
    if settings.secure_sum:
        raise ConfigError(
            "expected secure_sum=false with client.exact=device, found true: sums are of clients that send the same "
            "numbers; leave it out, or set one client.exact for all"
        )
    if client.learning == "local_exact":
        raise ConfigError(
            "expected client.learning=zeroth_order or local_zeroth_order with client.exact=device, found local_exact: "
            "all its clients learn in one way; set one of these, or one client.exact for all"
        )
    odd = [one for one in settings.link.devices if one.exact not in (0, 1, "all")]
    if client.learning == "local_zeroth_order" and odd:
        raise ConfigError(
            f"link.devices, class {odd[0].name!r}: expected exact of 0, 1 or all with client.learning="
            f"local_zeroth_order, found {odd[0].exact}: its clients would have other heads; set one of these"
        )
    if settings.privacy.is_on:
        raise ConfigError(
            "expected privacy off with client.exact=device, found privacy: its account is of clients that all release "
            "the same numbers; leave [privacy] out, or set one client.exact of 0 or 1 for all"
        )
