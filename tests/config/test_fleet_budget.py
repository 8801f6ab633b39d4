"""Budgets of devices become boundaries, the same in a file, by `--set` and from Python; other doors refuse them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import heron
from heron.config import (
    build_federation,
    from_toml,
    load_splits,
    plan_cost,
    recipe_config,
    resolve_budget,
    settings_with,
    to_toml,
)
from heron.config.sides import build_servers
from heron.costs.budget import with_boundaries
from heron.engines.profile import profile_client
from heron.errors import ConfigError
from heron.split import digits_cnn
from heron.wire.fleet import exact_of
from heron.wire.groups import Settings
from heron.wire.network import DeviceProfile, Network, class_of

LINE = "uplink_mbps = 10\ndownlink_mbps = 40\nlatency_ms = 25\nspeed = 1\n"
BUDGETS = (140_000, 150_000, 180_000, 2**20)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(
        "".join(f"[d{i}]\n{LINE}memory_budget = {budget}\nclients = [{i}]\n" for i, budget in enumerate(BUDGETS))
        + f'[rest]\n{LINE}memory_budget = "144KiB"\nshare = 1.0\n'
    )
    return path


def test_every_class_has_the_boundary_of_a_run_with_its_budget(profile: Path) -> None:
    requested = recipe_config("digits", "heron", [f"link.profile={profile}", "client.memory_budget=device"])
    assert requested.client.exact == 0
    resolved = resolve_budget(requested)
    assert (resolved.client.exact, resolved.client.memory_budget) == ("device", 0)
    for one in resolved.link.devices:
        alone = resolve_budget(recipe_config("digits", "heron", [f"client.memory_budget={one.memory_budget}"]))
        assert one.exact == alone.client.exact
    assert [exact_of(resolved, client_id) for client_id in range(5)] == [0, 1, 2, 4, 1]
    assert from_toml(to_toml(resolved)) == resolved
    assert from_toml(to_toml(requested)) == requested
    assert resolve_budget(resolved) == resolved


def test_peaks_measured_in_the_federation_are_within_the_budgets(profile: Path) -> None:
    config = recipe_config("digits", "heron", [f"link.profile={profile}", "client.memory_budget=device"])
    parties = build_federation(config, load_splits(config))
    peaks = [profile_client(parties, repeats=1, client_id=client_id).peak_memory_bytes for client_id in range(5)]
    assert all(peak <= budget for peak, budget in zip(peaks, (*BUDGETS, 144 * 1024), strict=True))
    assert len(set(peaks)) == 4


def test_python_chooses_the_same_boundaries(profile: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(80, 1, 8, 8, generator=generator), torch.arange(80) % 10)
    changes = {"client": {"memory_budget": "device"}, "link": {"profile": str(profile)}, "rounds": 1, "threads": 1}
    heron.train(digits_cnn(), data, out=tmp_path / "run", **changes)  # type: ignore[arg-type]
    saved = (tmp_path / "run" / "config.toml").read_text()
    assert 'exact = "device"' in saved
    asked = recipe_config("digits", "heron", [f"link.profile={profile}", "client.memory_budget=device"])
    resolved = resolve_budget(asked)
    again = settings_with(Settings(), {"client": {"exact": "device"}, "link": resolved.link})
    assert [exact_of(again, client_id) for client_id in range(5)] == [0, 1, 2, 4, 1]
    whole = heron.train(digits_cnn(), data, rounds=1, threads=1, client={"exact": "device"}, link=resolved.link)
    assert saved.count("exact = 4") == 1
    assert whole.metrics[0]["clients"] == 5


def test_flower_refuses_boundaries_of_devices(profile: Path) -> None:
    config = recipe_config("digits", "heron", [f"link.profile={profile}", "client.exact=device"])
    with pytest.raises(ConfigError, match=r"expected client\.exact as a number here, found device"):
        build_servers(config, load_splits(config))


@pytest.mark.parametrize("changes", [{"client": {"exact": "device"}}, {"client": {"memory_budget": "device"}}])
def test_python_refuses_them_without_devices(changes: dict) -> None:
    with pytest.raises(ConfigError, match=r"link\.profile"):
        settings_with(Settings(), changes)


def test_a_class_without_a_budget_is_named() -> None:
    device = DeviceProfile("tag", 1.0, 1.0, 1.0, 1.0, 1.0, ())
    settings = Settings(client=heron.Client(memory_budget="device"), link=Network(devices=(device,)))
    with pytest.raises(ConfigError, match="found none of class 'tag'"):
        with_boundaries(settings, lambda _: 1)


def test_equal_budgets_are_planned_once() -> None:
    devices = tuple(DeviceProfile(f"d{i}", 1.0, 1.0, 1.0, 1.0, 0.0, (i,), 100 + i % 2) for i in range(4))
    settings = Settings(client=heron.Client(memory_budget="device"), link=Network(devices=devices))
    asked: list[int] = []

    def largest(own: Settings) -> int:
        assert isinstance(own.client.memory_budget, int)
        asked.append(own.client.memory_budget)
        return own.client.memory_budget - 99

    assert [one.exact for one in with_boundaries(settings, largest).link.devices] == [1, 2, 1, 2]
    assert asked == [100, 101]


def test_shares_draw_a_class_as_before() -> None:
    """The draws that simulated time had before boundaries followed them."""
    devices = [DeviceProfile(name, 1.0, 1.0, 1.0, 1.0, share, ()) for name, share in (("a", 0.3), ("b", 0.7))]
    names = [class_of(devices, 0, client_id).name for client_id in range(200)]
    assert names.count("a") == pytest.approx(60, abs=4 * np.sqrt(200 * 0.21))
    assert names == [class_of(devices, 0, client_id).name for client_id in range(200)]


def test_layer_groups_go_up_from_probes_to_gradients_within_groups() -> None:
    """On this network gradients within groups take less than two copies of the groups' parameters for probes."""
    pool = ["client.local_pool=1", "client.micro_batch=16"]
    kinds = {"all": ("local_exact", 0), 1: ("local_zeroth_order", 1), 0: ("local_zeroth_order", 0)}
    peaks = {
        exact: plan_cost(
            recipe_config("digits", "heron", [f"client.learning={learning}", f"client.exact={heads}", *pool])
        ).peak_memory_bytes
        for exact, (learning, heads) in kinds.items()
    }
    assert len(set(peaks.values())) == 3
    for budget in peaks.values():
        asked = ["client.learning=local_zeroth_order", f"client.memory_budget={budget}", *pool]
        resolved = resolve_budget(recipe_config("digits", "heron", asked)).client
        first = next(exact for exact, peak in peaks.items() if peak <= budget)
        assert (resolved.learning, resolved.exact, resolved.memory_budget) == (*kinds[first], 0)


def test_a_fleet_of_layer_groups(tmp_path: Path) -> None:
    """A device of probes with exact heads, and one of gradients within groups, which both fit."""
    path = tmp_path / "local.toml"
    path.write_text(
        "".join(f"[d{i}]\n{LINE}exact = {exact}\nclients = [{i}]\n" for i, exact in enumerate((1, '"all"')))
    )
    pool = ["client.local_pool=1", "client.micro_batch=16", "client.learning=local_zeroth_order"]
    changes = [*pool, f"link.profile={path}", "client.exact=device", "clients.total=2", "rounds=1"]
    config = resolve_budget(recipe_config("digits", "heron", changes))
    assert config.client.learning == "local_zeroth_order"
    assert [one.exact for one in config.link.devices] == [1, "all"]
    parties = build_federation(config, load_splits(config))
    assert parties.run_round().num_replies == 2
    probes, gradients = (profile_client(parties, repeats=1, client_id=client_id) for client_id in range(2))
    assert gradients.peak_memory_bytes < probes.peak_memory_bytes <= 161_000
