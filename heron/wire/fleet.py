"""A fleet: clients of one run whose order boundaries differ, as the memory of their devices does.

A client's boundary is that of its class of devices. It has terms of its own, which declare that boundary: what it sends
as scalars and what as tensors. Terms of clients with one boundary are the same object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from heron.wire.groups import Settings
from heron.wire.learning import Learning
from heron.wire.network import class_of
from heron.wire.terms import Role, TensorTerm, Terms

S = TypeVar("S", bound=Settings)

Exact = int | Literal["all"]
_SENT_BACK: tuple[Role, ...] = ("replayed", "trained")


@dataclass(frozen=True)
class Member:
    """Terms and learning that the clients with one boundary share.

    Attributes:
        terms: of these clients.
        learning: settings of their learning.
    """

    terms: Terms
    learning: Learning


@dataclass(frozen=True)
class Fleet:
    """The members of a fleet.

    Attributes:
        settings: of the run.
        members: by their boundary.
    """

    settings: Settings
    members: Mapping[Exact, Member]

    def exact_of(self, client_id: int) -> Exact:
        """Return how many modules a client trains exactly."""
        return exact_of(self.settings, client_id)

    def member(self, client_id: int) -> Member:
        """Return what a client has in common with others of its boundary."""
        return self.members[self.exact_of(client_id)]


def exact_of(settings: Settings, client_id: int) -> Exact:
    """Return how many modules a client of a fleet trains exactly: the number of its class of devices.

    Args:
        settings: of the run, with classes of devices.
        client_id: number of the client, from 0.
    """
    exact: Exact = class_of(settings.link.devices, settings.seed, client_id).exact
    return exact


def with_exact(settings: S, exact: Exact) -> S:
    """Return the settings of clients with a boundary, in place of those of the fleet.

    Clients of layer groups have three: 0 learns from probes, 1 has exact heads, and with `all` each group descends its
    own loss by gradients.
    """
    client = settings.client
    if client.learning == "local_zeroth_order" and exact == "all":
        return replace(settings, client=replace(client, exact=0, learning="local_exact"))
    return replace(settings, client=replace(client, exact=exact))


def joined(settings: Settings, members: Mapping[Exact, Terms]) -> tuple[Terms, dict[Exact, Terms]]:
    """Return the terms of the servers, and those of the clients completed.

    To the servers everything that some client trains is a tensor. A client receives, besides its own, what others train
    and it does not.

    Args:
        settings: of the run.
        members: terms by boundary, each as if all clients had it.
    """
    everything: dict[str, TensorTerm] = {}
    for terms in members.values():
        for term in terms.tensors:
            role: Role = "trained" if term.role in _SENT_BACK else term.role
            everything.setdefault(term.name, replace(term, role=role))
    own = {exact: _completed(terms, everything) for exact, terms in members.items()}
    first = next(iter(members.values()))
    return replace(first, settings=settings, tensors=tuple(everything.values())), own


def _completed(terms: Terms, everything: Mapping[str, TensorTerm]) -> Terms:
    names = {term.name for term in terms.tensors}
    received = (replace(term, role="downlink_only") for name, term in everything.items() if name not in names)
    return replace(terms, tensors=(*terms.tensors, *received))
