"""Nodes with secrets in files: the same clients undisturbed in one process, and what the files of a run prove of it.

The undisturbed run draws from the secrets of the nodes and the name of their run, on which noise, batches and shown
labels depend beside what a round begins with. So it makes the releases that the nodes would have made if nothing had
been asked for twice, and its notes are what theirs should be.
"""

import json
import math
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from lean_nodes import LeanNodes

from heron.client.mask_keeper import LocalMemory, MaskKeeper
from heron.config import build_run, build_servers, load_splits, write_config
from heron.engines.participants import planned_rounds
from heron.privacy.journal import FileNotes, MemoryNotes, Note, NoteStore, read_notes
from heron.privacy.node_vault import Allowance, NodeVault
from heron.privacy.secret_file import SecretFile
from heron.runs.checkpoint import load_checkpoint
from heron.wire.mask_messages import MaskAnswer, MaskRequest, Unmasking

_NO_LIMIT = Allowance(10**6, 10**6)
_SAME = ("train_loss", "client_loss", "clients", "test_loss", "test_accuracy", "validation_loss", "validation_accuracy")
_KEYS = "mask_keys"  # public keys, which follow from secrets and the number of Flower's run


class SecretNodes:
    """Nodes of a run whose secrets are in files.

    Args:
        folder: of the secrets; made here.
        nodes: the nodes, with and without PyTorch.

    Attributes:
        configs: keys of the nodes' configuration.
    """

    def __init__(self, folder: Path, nodes: LeanNodes) -> None:
        folder.mkdir()
        self._nodes = nodes
        self._clients = range(nodes.config.clients.total)
        self._files = {number: SecretFile(folder / f"secret-{number}") for number in self._clients}
        own = {number: f"secret='{folder / f'secret-{number}'}'" for number in self._clients}
        self.configs = {number: f"{nodes.configs.get(number, '')} {own[number]}".strip() for number in self._clients}

    def has_covered(self, round_index: int) -> bool:
        """Return whether all clients have covered their values in a round, in whatever run of Flower's.

        Args:
            round_index: t, from 0.
        """
        return all(
            any(note.round_index == round_index and note.subject.startswith("sum/") for note in read_notes(file.notes))
            for file in self._files.values()
        )

    def in_one_process(self, out: Path, run: str, without_update: Collection[int]) -> list[NoteStore]:
        """Train undisturbed; returns the clients' notes.

        Args:
            out: run directory.
            run: name of the nodes' run.
            without_update: rounds, from 0, whose sums cannot be told.
        """
        config = self._nodes.config
        write_config(out, config)
        parties = build_run(config, out)
        terms, notes = build_servers(config, load_splits(config)).terms, [MemoryNotes() for _ in self._clients]
        vaults = [NodeVault(self._files[i].read(), notes[i], run, _NO_LIMIT) for i in self._clients]
        lean = [self._nodes.clients(number, terms, vaults[number]) for number in self._clients]
        federation = parties.federation
        keeper = MaskKeeper(lambda number: vaults[number].secret.of(number), LocalMemory())
        for each in (federation.clients, *lean):
            if each.masks is not None:
                each.masks.keeper = keeper
        ask = federation.ask

        def asked(requests: Sequence[MaskRequest]) -> dict[int, MaskAnswer]:
            lost = federation.next_round in without_update and isinstance(requests[0], Unmasking)
            return {} if lost else ask(requests)

        with (
            mock.patch.object(federation.residents, "of", lambda number: lean[number]),
            mock.patch.object(federation, "ask", asked),
        ):
            parties.train()
        return list(notes)

    def proofs(self, out: Path, expected: Path) -> dict[str, Any]:
        """Compare the files of a run with its undisturbed twin, which is trained here.

        Args:
            out: run directory of the nodes' run.
            expected: run directory of the twin.

        Returns:
            Figures, and under `holds` what has to be true of every run.
        """
        rows = _rows(out)
        lost = [row["round"] - 1 for row in rows if "secure_sum" in row.get("faults", {})]
        tensors, facts = load_checkpoint(out / "checkpoint" / "state.safetensors")
        run = str(facts["run"])
        twins = [_of_run(store, run) for store in self.in_one_process(expected, run, lost)]
        twin_rows, (twin_tensors, _) = _rows(expected), load_checkpoint(expected / "checkpoint" / "state.safetensors")
        servers = _of_run(FileNotes(out / "checkpoint" / "releases.notes"), run)
        devices = [_of_run(self._files[number].notes, run) for number in self._clients]
        secrets = {number: self._files[number].read().bound("run", run.encode()).digest() for number in self._clients}
        everybody = len(self._clients)
        holds = {
            "same_parameters": _same(tensors, twin_tensors),
            "same_figures_in_every_round": [[row.get(key) for key in _SAME] for row in rows]
            == [[row.get(key) for key in _SAME] for row in twin_rows],
            "everybody_or_no_update": all(
                row["clients"] == (0 if row["round"] - 1 in lost else everybody) for row in rows
            ),
            "one_secret_of_each_client": all(
                [note.digest for note in servers if note.subject == f"secret/{number}"] == [secrets[number]]
                for number in self._clients
            ),
            "nothing_told_in_two_ways": all(map(_is_told_once, devices)),
        }
        figures: dict[str, Any] = {"rounds_without_update": lost}
        if self._nodes.config.privacy.is_on:
            charged = [sum(note.subject == f"charge/{number}" for note in servers) for number in self._clients]
            releases = [_releases(devices[number], number) for number in self._clients]
            made = [len(each) for each in releases]
            budget = self._nodes.config.privacy.budget or math.inf
            figures |= {"releases": made, "charged": charged, "epsilon": rows[-1]["epsilon_public"]}
            holds |= {
                "never_undercharged": all(map(int.__ge__, charged, made)) and _never_less(rows, twin_rows),
                "charged_exactly_where_nothing_was_charged_twice": _is_doubled(servers)
                or (charged == made and not _is_more(rows, twin_rows)),
                "releases_of_the_undisturbed_run": releases
                == [_releases(twins[number], number) for number in self._clients],
                "within_what_is_planned": all(
                    made[number] <= planned_rounds(self._nodes.config, number) for number in self._clients
                ),
                "within_the_budget": rows[-1]["epsilon_public"] <= budget * (1 + 1e-9),
                "summary_has_the_account": json.loads((out / "summary.json").read_text())["privacy"]["client_rounds"]
                == max(charged),
            }
        return figures | {"holds": holds}


def _rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _of_run(store: NoteStore, run: str) -> list[Note]:
    """Notes of a run, each once, in order: what was noted again says nothing new."""
    return list(dict.fromkeys(note for note in read_notes(store) if note.run == run))


def _releases(notes: list[Note], number: int) -> set[tuple[int, str]]:
    """Round and digest of what a client's releases were drawn from; releases with different digests share no noise."""
    return {(note.round_index, note.digest) for note in notes if note.subject == f"release/{number}"}


def _is_told_once(notes: list[Note]) -> bool:
    """Return whether a release has one answer, and a round of a run of Flower's one sum and one list of the missing."""
    kinds = ("answer/", "sum/", "unmasking/", "secret/", "agreed/")
    told = Counter((note.subject, note.round_index) for note in notes if note.subject.startswith(kinds))
    return max(told.values(), default=0) == 1


def _is_doubled(servers: list[Note]) -> bool:
    """Return whether a client was charged for a round more than once."""
    charges = Counter((note.subject, note.round_index) for note in servers if note.subject.startswith("charge/"))
    return max(charges.values()) > 1


def _epsilons(row: dict[str, Any]) -> list[float]:
    return [value for key, value in sorted(row.items()) if key.startswith("epsilon_")]


def _never_less(rows: list[dict[str, Any]], twins: list[dict[str, Any]]) -> bool:
    """Return whether no recorded epsilon is smaller than that of the rounds so far, each released once."""
    return all(
        found >= expected
        for row, twin in zip(rows, twins, strict=True)
        for found, expected in zip(_epsilons(row), _epsilons(twin), strict=True)
    )


def _is_more(rows: list[dict[str, Any]], twins: list[dict[str, Any]]) -> bool:
    return list(map(_epsilons, rows)) != list(map(_epsilons, twins))


def _same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    """Return whether all that is trained is the same, bit for bit."""
    mine, theirs = (
        {name: tensor for name, tensor in each.items() if not name.startswith(_KEYS)} for each in (found, expected)
    )
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in theirs)
