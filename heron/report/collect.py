"""Runs read back from their folders for a report, finished or not. Damage causes a warning; no file is changed."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heron.config.likeness import flattened
from heron.errors import ReportError

_MAX_FILE_BYTES = 64 * 2**20
_MIN_ROW_KEYS = {"round", "uplink_bytes", "downlink_bytes", "elapsed_s"}


@dataclass(frozen=True)
class SavedRun:
    """One run, as saved in its folder.

    Attributes:
        path: the folder.
        config: configuration by dotted key.
        metrics: rows that could be read, oldest first, at least one.
        summary: contents of `summary.json`; empty for an unfinished run.
        cost: cost of one client step; empty if unknown.
        warnings: one line for each problem.
    """

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    summary: dict[str, Any]
    cost: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def collect_runs(paths: Sequence[Path]) -> list[SavedRun]:
    """Read every run in or below some folders, each once, in the order of the folders.

    Args:
        paths: run directories, or folders that contain run directories at any depth.

    Raises:
        ReportError: if a folder contains no run, or a run has no finished round or no readable configuration.
    """
    found: dict[Path, None] = {}
    for path in paths:
        runs = sorted(config.parent for config in path.rglob("config.toml"))
        if not path.is_dir():
            found_there = "a file" if path.exists() else "nothing"
            raise ReportError(f"expected a run directory or a folder of runs, found {found_there} at {path}")
        if not runs:
            raise ReportError(f"expected a run directory or a folder of runs, found no config.toml in or below {path}")
        found |= dict.fromkeys(runs)
    return [_read_run(path) for path in found]


def _read_run(path: Path) -> SavedRun:
    warnings: list[str] = []
    try:
        config = flattened(tomllib.loads(_read_text(path / "config.toml")))
    except tomllib.TOMLDecodeError as error:
        raise ReportError(f"cannot read {path / 'config.toml'}: {error}; leave this run out") from error
    missing = {"recipe", "algorithm", "seed"} - config.keys()
    if missing:
        raise ReportError(f"expected the configuration of a run in {path / 'config.toml'}, found no {min(missing)!r}")
    metrics = _read_metrics(path / "metrics.jsonl", warnings)
    summary, cost = (_read_object(path / name, warnings) for name in ("summary.json", "cost.json"))
    if not summary:
        warnings.append(f"{path}: unfinished, {metrics[-1]['round']} of {config.get('rounds', '?')} rounds")
    if not cost:
        warnings.append(
            f"{path}: no cost.json, so no memory and no client FLOPs; the commands `heron train` and compare write it"
        )
    return SavedRun(path, config, metrics, summary, cost, warnings)


def _read_metrics(path: Path, warnings: list[str]) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(_read_text(path).splitlines() if path.exists() else [], start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and row.keys() >= _MIN_ROW_KEYS:
            rows.append(row)
        else:
            warnings.append(f"{path}, line {number}: not a row of metrics, left out")
    if not rows:
        raise ReportError(f"expected at least one finished round in {path}, found none; train it, or leave it out")
    return rows


def _read_object(path: Path, warnings: list[str]) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(_read_text(path))
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    warnings.append(f"{path}: not a JSON object, left out")
    return {}


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ReportError(f"expected at most {_MAX_FILE_BYTES} bytes in {path}, found {path.stat().st_size}")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from error
