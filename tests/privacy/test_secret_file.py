"""A device's secret in a file: drawn once, for its owner alone, never replaced."""

import os
from pathlib import Path

import pytest

from heron.errors import CheckpointError
from heron.files import create_once
from heron.privacy.journal import Journal
from heron.privacy.secret_file import SecretFile


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_drawn_at_first_use_and_its_owners_alone(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        first = SecretFile(tmp_path / "secret").secret()
    finally:
        os.umask(before)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert SecretFile(tmp_path / "secret").secret().digest() == first.digest()
    assert [path.name for path in tmp_path.iterdir()] == ["secret"], "nothing is left aside"


def test_of_two_processes_both_have_the_secret_that_was_there_first(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert create_once(path, bytes(32), mode=0o600)
    assert not create_once(path, bytes([1]) * 32, mode=0o600)
    assert SecretFile(path).secret().reveal() == bytes(32)
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_file_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    SecretFile(path).secret()
    path.chmod(mode)
    with pytest.raises(CheckpointError, match=f"has mode {mode:04o}, other users may read this secret; chmod 600"):
        SecretFile(path).secret()


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_damaged_file_is_refused_and_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CheckpointError, match=r"expected a secret of 32 bytes in .*, found a damaged one") as found:
        SecretFile(path).secret()
    assert "\n" not in str(found.value)
    assert path.read_bytes() == content


def test_a_secret_that_is_gone_while_its_notes_are_there_is_not_drawn_anew(tmp_path: Path) -> None:
    file = SecretFile(tmp_path / "secret")
    file.secret()
    Journal(file.notes, "a1").add(0, "release/0", "x")
    (tmp_path / "secret").unlink()
    with pytest.raises(CheckpointError, match=r"expected the secret in .*secret whose notes are in .*, found none"):
        file.secret()
    assert not (tmp_path / "secret").exists()


def test_a_folder_that_is_not_there_or_a_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*: No such file or directory; name a file in a folder"):
        SecretFile(tmp_path / "absent" / "secret").secret()
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(CheckpointError, match=r"cannot read .*folder"):
        SecretFile(tmp_path / "folder").secret()


def test_a_folder_that_its_user_cannot_look_into_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    for look in (SecretFile(tmp_path / "secret").secret, SecretFile(tmp_path / "secret").exists):
        with pytest.raises(CheckpointError, match=r"cannot read .*secret: Permission denied; make it a file"):
            look()
