"""Boundaries in place of memory budgets: one for all clients, or one for each class of their devices."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from heron.errors import ConfigError
from heron.wire.fleet import Exact, with_exact
from heron.wire.groups import Settings

S = TypeVar("S", bound=Settings)


def with_boundaries(settings: S, largest: Callable[[S], Exact]) -> S:
    """Return the same settings with `exact` in place of the budget that chooses it, for all clients or for each class.

    Args:
        settings: of a run, with a `client.memory_budget`.
        largest: finds the largest `exact` that fits, for settings whose budget is a number of bytes.

    Raises:
        ConfigError: if nothing fits, or a class of devices has no budget.
    """
    if settings.client.memory_budget != "device":
        return _with_client(with_exact(settings, largest(settings)), memory_budget=0)
    check_device_budgets(settings)
    found: dict[int, Exact] = {}
    devices = []
    for one in settings.link.devices:
        if one.memory_budget not in found:
            try:
                found[one.memory_budget] = largest(_with_client(settings, exact=0, memory_budget=one.memory_budget))
            except ConfigError as error:
                raise ConfigError(f"link.devices, class {one.name!r}: {error}") from error
        devices.append(replace(one, exact=found[one.memory_budget]))
    fleet = replace(settings, link=replace(settings.link, devices=tuple(devices)))
    return _with_client(fleet, exact="device", memory_budget=0)


def check_device_budgets(settings: Settings) -> None:
    """Refuse `client.memory_budget=device` where a class of devices has no budget.

    Raises:
        ConfigError: naming the class.
    """
    devices = settings.link.devices
    lacking = [one.name for one in devices if not one.memory_budget]
    if lacking or not devices:
        found = f"none of class {lacking[0]!r}" if lacking else "no profile"
        raise ConfigError(
            f"expected a memory_budget of every class in link.profile with client.memory_budget=device, found {found}; "
            f"add it, or set a number of bytes for all"
        )


def _with_client(settings: S, **changes: object) -> S:
    return replace(settings, client=replace(settings.client, **changes))  # type: ignore[arg-type]
