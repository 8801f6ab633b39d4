"""The secret of a node: in a file that its own configuration names, else in the memory of its app.

A file is the place for real devices: it is drawn on the device, read by its owner alone, and outlives restarts, as do
the notes of what was released next to it. Without one, as in a simulation, both last as long as Flower's run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heron.engines.participants import planned_rounds
from heron.errors import ConfigError, DataError, WithheldError
from heron.flower.records import RoundRequest
from heron.privacy.journal import NoteStore, note_digest
from heron.privacy.node_vault import Allowance, NodeVault
from heron.privacy.secret import Secret
from heron.privacy.secret_file import SecretFile
from heron.wire.terms import Terms

if TYPE_CHECKING:
    from flwr.app import RecordDict

SECRET_KEY = "secret"  # noqa: S105 - the name of a setting
"""Key of a node's configuration: file of its secret."""
_RECORD, _KEY, _NOTES = "secret", "key", "notes"


def node_vault(
    request: RoundRequest, terms: Terms, node_config: Mapping[str, Any], state: "RecordDict"
) -> NodeVault | None:
    """Make the vault of a node for one message; None for a run that needs no secrets.

    Args:
        request: the message.
        terms: of the run.
        node_config: the node's own configuration; its `secret` names a file.
        state: of the app, where there is no such file.

    Raises:
        ConfigError: if what the configuration names is no file, the servers count on one and there is none, or the
            message names no run.
        CheckpointError: if the secret or its notes are damaged, or others may read it.
        WithheldError: if the secret is not that with which the node was seen before, and it has to be; or the privacy
            is not what the run began with.
    """
    if not terms.settings.needs_secret:
        if request.run:  # only runs with secrets have names
            raise _other_privacy(request)
        return None
    if request.repeats and SECRET_KEY not in node_config:
        raise ConfigError(
            f"client {request.client_id}: expected the file of its secret in the node's configuration, since servers "
            f"take it to repeat its releases, found none; it is asked again, and charged for every request"
        )
    allowance = Allowance(planned_rounds(terms.settings, request.client_id), request.charged)
    vault = run_vault(request.run, allowance, node_config, state)
    _check_same(request, terms, vault, keeps=SECRET_KEY in node_config)
    _check_agreed(request, terms, vault)
    return vault


def run_vault(run: str, allowance: Allowance, node_config: Mapping[str, Any], state: "RecordDict") -> NodeVault:
    """Make the vault of a node for a run, whatever its secret was before.

    Args:
        run: name of the run.
        allowance: bounds on the releases of the client.
        node_config: as of `node_vault`.
        state: likewise.

    Raises:
        ConfigError: if the configuration names no file, or there is no name of a run.
        CheckpointError: if the secret is damaged, or others may read it.
    """
    if not run or not run.isascii() or not run.isalnum():
        raise ConfigError(f"expected the name of a run that needs secrets, found {run[:40]!r}; update the server")
    place: SecretFile | ContextSecret = ContextSecret(state)
    if SECRET_KEY in node_config:
        place = SecretFile(_path(node_config))
    return NodeVault(place.secret(), place.notes, run, allowance)


class ContextSecret:
    """A secret that lasts as long as the state of a client's app.

    Args:
        records: the state, changed in place.

    Attributes:
        notes: what was released.
    """

    def __init__(self, records: "RecordDict") -> None:
        self._records = records
        self.notes: NoteStore = _ContextNotes(records)

    def secret(self) -> Secret:
        """Return the secret; the first time it is drawn."""
        if _RECORD not in self._records.config_records:
            _write(self._records, key=Secret.fresh().reveal(), notes=b"")
        return Secret(_read(self._records, _KEY))


class _ContextNotes:
    """Notes in the state of a client's app, next to a secret."""

    def __init__(self, records: "RecordDict") -> None:
        self._records = records

    def read(self) -> list[bytes]:
        return _read(self._records, _NOTES).split(b"\n")[:-1]

    def append(self, line: bytes) -> None:
        kept = {key: _read(self._records, key) for key in (_KEY, _NOTES)}
        _write(self._records, **kept | {_NOTES: kept[_NOTES] + line + b"\n"})


def check_examples(request: RoundRequest, terms: Terms, num_examples: int) -> None:
    """Refuse a client for which the servers' account would be wrong: it says less than the truth for fewer examples.

    Args:
        request: of the servers.
        terms: of the run.
        num_examples: n of the client.

    Raises:
        DataError: with the numbers.
    """
    privacy = terms.settings.privacy
    if not privacy.is_on:
        return
    if num_examples < request.least_examples or request.least_examples < 1:
        raise DataError(
            f"client {request.client_id}: expected at least {request.least_examples} examples, which the account of "
            f"this run takes it to have, found {num_examples}; use more, or lower privacy.least_examples of the run"
        )
    if privacy.delta * num_examples >= 1.0:
        raise DataError(
            f"client {request.client_id}: expected privacy.delta below 1/n = {1.0 / num_examples:.3g} of its "
            f"{num_examples} examples, found {privacy.delta:g}; lower it"
        )


def _check_same(request: RoundRequest, terms: Terms, vault: NodeVault, *, keeps: bool) -> None:
    """Refuse another secret than before where it would show what the first one hides.

    Noise of another secret is a further release, which the account charges to a node that keeps no file. Labels and
    noise that are drawn once per example must not be drawn twice.
    """
    found, settings = vault.secret.digest(), terms.settings
    noted = [note.digest for note in vault.journal.notes(f"secret/{request.client_id}")]
    draws_once = bool(settings.privacy.label_budget or settings.smashed.noise)
    is_other = request.secret not in ("", found) and (draws_once or keeps)
    if is_other or (noted and noted[0] != note_digest(found.encode())):
        raise WithheldError(
            f"client {request.client_id}: expected the secret that it had in this run before, found another: what is "
            f"drawn from both reveals what one hides; restore its file, or start a new run"
        )
    vault.journal.commit(0, f"secret/{request.client_id}", found.encode())


def _check_agreed(request: RoundRequest, terms: Terms, vault: NodeVault) -> None:
    """Refuse weaker noise, or a larger budget, than the run began with: servers send the settings with each request."""
    settings, subject = terms.settings, f"agreed/{request.client_id}"
    probes, smashed, client = settings.estimator.probes, settings.smashed, settings.client
    agreed = [
        *(settings.privacy, probes, smashed.clip, smashed.noise, client.batch_size, client.local_steps, client.exact),
        *(terms.upload.num_classes, settings.secure_sum, request.least_examples),
        *(settings.seed, settings.clients.per_round, settings.clients.total),  # the rounds that are this client's
        settings.rounds if request.fixes_rounds else "any number of rounds",
    ]
    content = " ".join(map(repr, agreed)).encode()
    noted = [note.digest for note in vault.journal.notes(subject)]
    if noted and noted[0] != note_digest(content):
        raise _other_privacy(request)
    vault.journal.commit(0, subject, content)


def _other_privacy(request: RoundRequest) -> WithheldError:
    return WithheldError(
        f"client {request.client_id}: expected the privacy that this run began with (its settings, classes, clients "
        f"and, if the noise was found for them, rounds), found another; its releases are held back: start a new run"
    )


def _path(node_config: Mapping[str, Any]) -> Path:
    value = node_config[SECRET_KEY]
    if not isinstance(value, str) or not value:
        raise ConfigError(
            f"expected {SECRET_KEY} as the path of a file in the node's configuration, found {value!r}; start the "
            f"SuperNode with --node-config \"partition-id=0 {SECRET_KEY}='FILE'\""
        )
    return Path(value)


def _read(records: "RecordDict", key: str) -> bytes:
    if _RECORD not in records.config_records:
        return b""
    value = records.config_records[_RECORD][key]
    assert isinstance(value, bytes)  # written here
    return value


def _write(records: "RecordDict", *, key: bytes, notes: bytes) -> None:
    from flwr.app import ConfigRecord

    records[_RECORD] = ConfigRecord({_KEY: key, _NOTES: notes})
