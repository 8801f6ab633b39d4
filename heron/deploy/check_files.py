"""Checks that a party's files are complete, have the right permissions and contain no other party's key."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from heron.deploy.findings import Level
from heron.deploy.party import Party
from heron.errors import DeployError
from heron.privacy.journal import read_notes
from heron.privacy.secret_file import SecretFile

_OTHERS = 0o077
_MAX_BYTES = 2**16
_MARK = b"PRIVATE KEY-----"  # part of every PEM format


def check_files(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that all files are there, and that scripts can be run."""
    absent = [name for name in party.files if not (party.folder / name).is_file()]
    if absent:
        raise DeployError(f"expected {', '.join(absent)} in {party.folder}, found none; copy the whole folder again")
    inert = [name for name in party.files if name.endswith(".sh") and not os.access(party.folder / name, os.X_OK)]
    if inert:
        raise DeployError(f"expected scripts that can be run; chmod +x {' '.join(inert)}")
    yield "ok", f"{len(party.files)} files in {party.folder}"


def check_rights(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that only the owner can read the party's key, and that no other party's key is here."""
    key = party.folder / party.key
    if key.exists():
        mode = key.stat().st_mode & 0o777
        if mode & _OTHERS:
            raise DeployError(f"{party.key} has mode {mode:04o}, other users may read it; chmod 600 {key}")
    foreign = [path.name for path in sorted(party.folder.iterdir()) if path != key and _holds_a_key(party, path.name)]
    if foreign:
        raise DeployError(
            f"{', '.join(foreign)}: a private key that is not this party's; remove it here, and replace it by a new "
            f"one at its owner"
        )
    yield "ok", f"{party.key} is readable by its owner alone, no other party's key is here"


def check_secret(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that the client's secret and notes, once a run has needed them, are whole, and the secret its owner's."""
    if not party.settings.get("HERON_SECRET"):
        advice = "add it, and secret='$HERON_SECRET' to HERON_NODE_CONFIG"
        yield "warning", f"no HERON_SECRET in client.env: runs with privacy draw from what a restart loses; {advice}"
        return
    path = Path(party.settings["HERON_SECRET"])
    named = re.search(r"(?<!\S)secret='([^']*)'", party.settings.get("HERON_NODE_CONFIG", ""))
    if named is None or Path(named[1]) != path:
        found = "no secret" if named is None else f"secret='{named[1]}'"
        advice = f"{'replace it by' if named else 'add'} secret='$HERON_SECRET'"
        yield "warning", f"{found} in HERON_NODE_CONFIG: runs with privacy do not draw from HERON_SECRET; {advice}"
        return
    file = SecretFile(path)
    if not file.exists() and not file.notes.read():
        yield "ok", f"no secret in {path} yet: a run that needs one draws it"
        return
    file.read()
    runs = {note.run for note in read_notes(file.notes)}
    yield "ok", f"{path} is readable by its owner alone; notes of {len(runs)} runs"


def check_clients(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that the server has one public key of each client."""
    from heron.deploy.trust import load_node_public_key

    expected = {f"client-{number}.pub" for number in range(party.count("HERON_CLIENTS"))}
    found = {path.name: path for path in (party.folder / "nodes").glob("*.pub")}
    if found.keys() != expected:
        raise DeployError(
            f"expected a public key for each of {len(expected)} clients in nodes/, client-0.pub and so on, found "
            f"{', '.join(sorted(found)) or 'none'}; correct HERON_CLIENTS or the folder"
        )
    keys = {load_node_public_key(path).public_numbers() for path in found.values()}
    if len(keys) < len(found):
        raise DeployError("expected different keys in nodes/, found one twice: two nodes cannot share one")
    yield "ok", f"public keys of {len(found)} clients"


def _holds_a_key(party: Party, name: str) -> bool:
    path = party.folder / name
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_MAX_BYTES)
    except OSError:
        return False
