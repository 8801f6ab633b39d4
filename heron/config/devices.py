"""Profile files of device classes, and the link model that a configuration describes.

A profile is read once, when it is set; its content is saved with the run (docs/decisions/0025-simulated-time.md).
"""

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from heron.config.models import validated
from heron.costs.budget import check_device_budgets
from heron.costs.network import DeviceClass, LinkModel
from heron.costs.operations import StepFlops
from heron.costs.round_time import Device
from heron.errors import ConfigError
from heron.wire.fleet import Exact, with_exact
from heron.wire.groups import Settings
from heron.wire.network import DeviceProfile, Network

S = TypeVar("S", bound=Settings)

_MAX_FILE_BYTES = 2**20
_MAX_CLASSES = 1000
_SHARE_ERROR = 1e-6  # of the sum of shares that are written with a few decimals
_MAY_LACK = {"share": 0.0, "clients": (), "memory_budget": 0, "exact": 0}
_KEYS = tuple(field.name for field in fields(DeviceProfile) if field.name != "name")


def with_devices(settings: S) -> S:
    """The settings with the content of its `link.profile` in `link.devices`; no classes without a profile.

    Raises:
        ConfigError: if the file cannot be read or is no profile.
    """
    link = settings.link
    devices = read_profile(Path(link.profile)) if link.profile else ()
    return replace(settings, link=replace(link, devices=devices))


def read_profile(path: Path) -> tuple[DeviceProfile, ...]:
    """The device classes of a TOML file, a table for each.

    Raises:
        ConfigError: if it cannot be read, is not TOML, or a table of it is no device class.
    """
    try:
        # A pipe or a device would be read without an end.
        if not path.is_file():
            raise ConfigError(f"link.profile: expected a TOML file of device classes, found no file {str(path)!r}")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigError(f"{path}: expected a profile of at most {_MAX_FILE_BYTES:,} bytes; list fewer clients")
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"link.profile: cannot read {str(path)!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not TOML, or not even text
        raise ConfigError(f"{path}: expected a TOML file of device classes: {error}") from error
    if not 1 <= len(tables) <= _MAX_CLASSES:
        raise ConfigError(
            f"{path}: expected 1 to {_MAX_CLASSES} device classes, found {len(tables)}; write a table such as [phone] "
            f"for each"
        )
    return tuple(_device(path, name, table) for name, table in tables.items())


def check_link(settings: Settings) -> None:
    """Refuse a link section whose keys do not agree with each other.

    Raises:
        ConfigError: if they do not.
    """
    link, devices, client = settings.link, settings.link.devices, settings.client
    if client.memory_budget == "device":
        check_device_budgets(settings)
    if client.exact == "device" and not devices:
        raise ConfigError(
            "expected classes of devices in link.profile with client.exact=device, found no profile; set it, or a "
            "number"
        )
    if link.profile and not devices:
        raise ConfigError(
            f"link.devices: expected the content of link.profile={link.profile!r} in a saved configuration, found "
            f"none; set the profile with --set link.profile, which reads it"
        )
    if not devices:
        return
    if link.uplink_mbps or link.downlink_mbps or link.latency_ms:
        raise ConfigError(
            "link: expected uplink_mbps, downlink_mbps and latency_ms of 0 beside device classes, which have their "
            "own; set them to 0 or drop the profile"
        )
    _check_clients(devices, settings.clients.total)


def link_model(settings: S, count_flops: Callable[[S], StepFlops]) -> LinkModel | None:
    """Devices and lines of a run whose time is simulated; None where nothing takes time.

    Args:
        settings: of the run.
        count_flops: counts the operations of a local step, of clients with one boundary; called where computing takes
            time.
    """
    link = settings.link
    if not link.takes_time:
        return None
    server = _rate(link.server_gflops, 1e9)
    flops: dict[Exact, StepFlops] = {}
    if link.client_gflops or link.server_gflops:
        if settings.client.exact == "device":
            flops = {exact: count_flops(with_exact(settings, exact)) for exact in {one.exact for one in link.devices}}
        else:
            flops = {settings.client.exact: count_flops(settings)}
    return LinkModel(_classes(settings, flops), settings.seed, server, next(iter(flops.values()), None))


def _classes(settings: Settings, flops: Mapping[Exact, StepFlops]) -> list[DeviceClass]:
    link = settings.link
    if not link.devices:
        return [DeviceClass(_hardware(link, link, speed=1.0))]
    has_own = settings.client.exact == "device"
    return [
        DeviceClass(
            _hardware(link, one, one.speed),
            one.share,
            frozenset(one.clients),
            flops.get(one.exact) if has_own else None,
        )
        for one in link.devices
    ]


def _hardware(link: Network, rates: Network | DeviceProfile, speed: float) -> Device:
    return Device(
        uplink_bytes_per_s=_rate(rates.uplink_mbps, 1e6 / 8),
        downlink_bytes_per_s=_rate(rates.downlink_mbps, 1e6 / 8),
        latency_s=rates.latency_ms / 1e3,
        flops_per_s=_rate(speed * link.client_gflops, 1e9),
    )


def _rate(value: float, unit: float) -> float:
    """Zeros of the configuration file are no limit."""
    return value * unit if value else math.inf


def _device(path: Path, name: str, table: Any) -> DeviceProfile:
    where = f"{path}, class {name[:80]!r}"
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table of {', '.join(_KEYS)}, found {type(table).__name__}")
    if ("share" in table) == ("clients" in table):
        found = "both" if "share" in table else "neither"
        raise ConfigError(f"{where}: expected one of share and clients, found {found}; drop or add one")
    unknown = sorted(table.keys() - set(_KEYS))
    missing = [key for key in _KEYS if key not in table and key not in _MAY_LACK]
    if unknown or missing:
        what = f"the unknown key {unknown[0][:80]!r}" if unknown else f"no {missing[0]}"
        needed = ", ".join(key for key in _KEYS if key not in _MAY_LACK)
        raise ConfigError(
            f"{where}: expected {needed}, one of share and clients, and if wanted memory_budget and exact, found {what}"
        )
    try:
        return validated(DeviceProfile, {**_MAY_LACK, **table, "name": name})
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(f"{where}: {problem['loc'][0]}: {problem['ctx']['error']}") from error


def _check_clients(devices: Sequence[DeviceProfile], total: int) -> None:
    """Every client has a class, and one only."""
    listed: dict[int, str] = {}
    for one in devices:
        for client_id in one.clients:
            if client_id >= total:
                raise ConfigError(
                    f"link.devices, class {one.name!r}: expected clients below clients.total = {total}, found "
                    f"{client_id}; list others or raise clients.total"
                )
            if client_id in listed:
                raise ConfigError(
                    f"link.devices: expected each client once, found client {client_id} in {listed[client_id]!r} and "
                    f"in {one.name!r}; drop one"
                )
            listed[client_id] = one.name
    names = [one.name for one in devices]
    if len(set(names)) < len(names):
        raise ConfigError("link.devices: expected different names of classes, found one twice; rename one")
    shares = sum(one.share for one in devices)
    if not shares and len(listed) < total:
        orphan = min(set(range(total)) - listed.keys())
        raise ConfigError(
            f"link.devices: expected a class for every client, found none for client {orphan} of clients.total = "
            f"{total}; list it, or give a class a share of the rest"
        )
    if shares and abs(shares - 1) > _SHARE_ERROR:
        raise ConfigError(f"link.devices: expected shares that sum to 1, found {shares:g}; correct the profile")
