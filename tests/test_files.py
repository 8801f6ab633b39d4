"""Files that are complete or absent, on systems with other ideas of folders, names and text."""

import errno
import os
from pathlib import Path

import pytest

from heron.errors import CheckpointError
from heron.files import sync_to_disk, write_atomically


@pytest.fixture
def windows(monkeypatch):
    """Folders that cannot be opened, and files that are flushed only if they are open for writing."""
    real_open, real_sync = os.open, os.fsync

    def opened(path, flags, *arguments, **options):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, flags, *arguments, **options)

    def flushed(handle):
        import fcntl

        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real_sync(handle)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", flushed)


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path, windows):
    path = tmp_path / "new" / "file"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    sync_to_disk([path])
    assert path.read_bytes() == b"second"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_a_disk_that_fails_is_an_error(tmp_path, monkeypatch):
    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    write_atomically(tmp_path / "file", b"first")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(CheckpointError, match="Input/output error"):
        write_atomically(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


@pytest.mark.parametrize("path", [".", "/", ".."])
def test_a_folder_is_no_file(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="expected the name of a file to write, found the folder"):
        write_atomically(Path(path), b"")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_file_that_was_left_behind_does_not_lend_its_mode(tmp_path):
    left = tmp_path / "secret.tmp"
    left.write_bytes(b"old")
    left.chmod(0o644)
    write_atomically(tmp_path / "secret", b"new", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert not left.exists()
