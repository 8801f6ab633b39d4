"""Lines of warning about a run whose settings are allowed, but may not do what a person expects."""

from dataclasses import fields
from typing import Any

from heron.algorithms import Algorithm
from heron.wire.groups import Client, Settings

_OF_LAYER_GROUPS = ("groups", "local_pool")


def cautions(algorithm: Algorithm, settings: Settings) -> list[str]:
    """Describe what a run's settings disclose or leave undone that a person may not expect, one line each.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the training.
    """
    return [*_disclosed(algorithm, settings), *_unused(algorithm, settings)]


def _disclosed(algorithm: Algorithm, settings: Settings) -> list[str]:
    """Describe what other clients learn of one from its scalars."""
    learning = algorithm.learning(settings)
    sends = learning.sends_scalars and algorithm.orders(learning).probes
    # Clients of a fleet are sent models.
    has_fleet = algorithm.has_boundary and "device" in (settings.client.exact, settings.client.memory_budget)
    if not sends or has_fleet or learning.settings.seed_groups or settings.clients.total == 1:
        return []
    others = "" if "update" in algorithm.fixed else ", or update=dense"
    line = (
        f"{algorithm.name}: scalars without seed_groups send every client's projected gradients, under its number, to "
        f"the other clients, who can tell its share of each label from them; set seed_groups, which sends "
        f"sums{others} (docs/concepts/privacy.md)"
    )
    return [line]


def _unused(algorithm: Algorithm, settings: Settings) -> list[str]:
    """Describe keys of layer groups that were set for clients without any, one line each."""
    if algorithm.learning(settings).client.learning != "zeroth_order":
        return []
    defaults: dict[str, Any] = {field.name: field.default for field in fields(Client)}
    found = {name: getattr(settings.client, name) for name in _OF_LAYER_GROUPS}
    remedy = "set client.learning=local_zeroth_order or local_exact, or leave it out"
    advice = remedy if algorithm.can_have_layer_groups else "leave it out"
    return [
        f"{algorithm.name}: client.{name}={value} changes nothing: its clients have no layer groups; {advice}"
        for name, value in found.items()
        if value != defaults[name]
    ]
