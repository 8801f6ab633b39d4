"""A vault: one secret for one run, on the disk before anything is drawn from it."""

from pathlib import Path

import pytest

from heron.errors import ConfigError
from heron.privacy import Secret
from heron.privacy.vault import Vault


def begun(path: Path, run: str, secret: Secret | None = None) -> Vault:
    vault = Vault(secret)
    vault.keep_in(path, run)
    vault.begin()
    return vault


def test_a_run_that_ended_before_its_first_checkpoint_takes_its_secret_again(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first = begun(path, "this run")
    assert path.stat().st_mode & 0o777 == 0o600
    assert begun(path, "this run").secret.digest() == first.secret.digest()


def test_another_run_in_the_same_folder_has_a_secret_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first = begun(path, "this run").secret.digest()
    second = begun(path, "another learning rate").secret.digest()
    assert second != first
    assert begun(path, "another learning rate").secret.digest() == second


def test_a_given_secret_is_used(tmp_path: Path) -> None:
    path, given = tmp_path / "secret", Secret(bytes(32))
    begun(path, "this run")
    assert begun(path, "this run", given).secret.digest() == given.digest()
    assert begun(path, "this run").secret.digest() == given.digest()


def test_a_damaged_file_is_replaced_before_the_first_round(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"short")
    vault = begun(path, "this run")
    assert path.read_bytes()[:32] == vault.secret.reveal()


def test_a_vault_is_for_one_run() -> None:
    vault = Vault()
    vault.claim()
    with pytest.raises(ConfigError, match="expected a vault of its own for each run"):
        vault.claim()
