"""Algorithms that use a setting: a predicate over the rows of the registry for each key that not all of them use."""

from collections.abc import Callable, Mapping
from typing import Any

from heron.algorithms import ALGORITHMS, Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.wire.groups import Settings

Predicate = Callable[[Algorithm], bool]

_ZEROTH = "heron.server.zeroth_server:ZerothOrderServer"


def _probes(row: Algorithm) -> bool:
    return row.orders(row.learning(Settings())).probes


def _trains(row: Algorithm) -> bool:
    return _probes(row) or bool(row.orders(row.learning(Settings())).exact)


def _uploads(row: Algorithm) -> bool:
    return row.uploads != "never"


def _fits_auxiliary(row: Algorithm) -> bool:
    return row.trains_auxiliary or row.downlink_only == "auxiliary"


def _exports(row: Algorithm) -> bool:
    return row.head == "auxiliary" or (row.head is None and not row.orders(row.learning(Settings())).exact)


def fixed_settings(row: Algorithm) -> dict[str, Any]:
    """Collect the settings that an algorithm leaves no choice about.

    Args:
        row: of the registry.

    Returns:
        Values by dotted key.
    """
    values: dict[str, Any] = {}
    for name, value in row.fixed.items():
        values |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
    return values


_USERS: dict[str, Predicate] = {
    "update": lambda row: _probes(row) and "update" not in fixed_settings(row),
    "seed_groups": lambda row: _probes(row) and "seed_groups" not in fixed_settings(row),
    "digest_period": _probes,
    "secure_sum": lambda row: row.answers is None and _probes(row) and not row.draws_candidates,
    "client.checkpointing": lambda row: _trains(row) and (row.has_boundary or not _probes(row)),
    "client.upload_period": lambda row: row.uploads == "periodic",
    "client.exact": lambda row: row.has_boundary,
    "client.groups": lambda row: row.can_have_layer_groups,
    "client.local_pool": lambda row: row.can_have_layer_groups,
    "client.memory_budget": lambda row: row.has_boundary,
    "client.exact_learning_rate": lambda row: row.has_boundary,
    "client.optimizer": lambda row: _trains(row) and len(row.optimizers) > 1,
    "client.learning_rate": _trains,
    "client.schedule": _trains,
    "client.keep_state": lambda row: _trains(row) and "client.keep_state" not in fixed_settings(row),
    "client.kernel": _probes,
    "client.runtime": _exports,
    "smashed.clip": lambda row: _uploads(row) and row.answers is None,
    "smashed.noise": lambda row: _uploads(row) and row.answers is None,
    "smashed.": lambda row: _uploads(row) and row.answers != "loss",
    "estimator.candidates": lambda row: row.draws_candidates,
    "estimator.sampling": lambda row: row.draws_candidates,
    "estimator.scheme": lambda row: _probes(row) and "estimator.scheme" not in fixed_settings(row),
    "estimator.": _probes,
    "server.refresh_auxiliary": lambda row: row.trains_auxiliary,
    "server.reuse": lambda row: row.uploads == "periodic",
    "server.buffer_size": lambda row: row.uploads == "periodic",
    "server.alignment_": _fits_auxiliary,
    "server.zeroth_steps": lambda row: row.main_server == _ZEROTH,
    "server.joint_probes": lambda row: row.main_server == _ZEROTH,
    "server.optimizer": lambda row: _uploads(row) and row.main_server != _ZEROTH,
    "server.": _uploads,
    "fed_server.max_scalar": lambda row: _probes(row) and not row.draws_candidates,
    "privacy.label_epsilon": lambda _: True,
    "privacy.": lambda row: row.make_private is not None,
    "link.bundle": lambda row: row.run_round is decoupled_round,
    "link.server_gflops": _uploads,
}
"""The first entry that a key starts with counts; a key without an entry is everybody's."""


def users(key: str) -> list[str]:
    """List the algorithms whose results can depend on a setting.

    Args:
        key: dotted name of the setting, e.g. `client.exact`.

    Returns:
        Names in the registry, in its order.
    """
    found = (predicate for prefix, predicate in _USERS.items() if key == prefix or _is_in(key, prefix))
    predicate = next(found, lambda _: True)
    return [name for name, row in ALGORITHMS.items() if predicate(row)]


def users_text(key: str) -> str:
    """Say it in a few words: `all`, `all but frozen`, or the names."""
    names = users(key)
    others = [name for name in ALGORITHMS if name not in names]
    if not others:
        return "all"
    listed = names if len(names) <= len(others) else others
    text = ", ".join(f"[`{name}`](../algorithms/{name}.md)" for name in listed)
    return text if listed is names else f"all but {text}"


def _is_in(key: str, prefix: str) -> bool:
    return prefix.endswith((".", "_")) and key.startswith(prefix)
