"""Files that are complete or absent, on systems with other ideas of folders, names and text."""

import errno
import os
from pathlib import Path
from threading import Thread

import pytest

import heron.files
from heron.errors import CheckpointError
from heron.files import append_line, create_once, sync_to_disk, write_atomically


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


@pytest.mark.parametrize("content", [b"", b"half a li"])
def test_of_two_processes_neither_drops_the_others_line(content, tmp_path, monkeypatch):
    """One appends after the other has looked, and before it drops half a line."""
    pytest.importorskip("fcntl")
    path, real_truncate = tmp_path / "notes", os.ftruncate
    path.write_bytes(content)
    other = Thread(target=append_line, args=(path, b"other"))

    def late(handle, length):
        if other.ident is None:
            other.start()
            other.join(0.2)
        real_truncate(handle, length)

    monkeypatch.setattr(os, "ftruncate", late)
    append_line(path, b"mine")
    if other.ident is None:
        other.start()
    other.join()
    assert sorted(path.read_bytes().split(b"\n")) == [b"", b"mine", b"other"]


def test_a_system_without_locks_appends_without(tmp_path, monkeypatch):
    monkeypatch.setattr(heron.files, "fcntl", None)
    for line in (b"first", b"second"):
        append_line(tmp_path / "notes", line)
    assert (tmp_path / "notes").read_bytes() == b"first\nsecond\n"


def test_a_file_system_without_locks_is_no_error_but_a_failed_lock_is(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    for number in (errno.ENOTSUP, errno.EIO):

        def refused(*_, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refused)
        if number == errno.ENOTSUP:
            append_line(tmp_path / "notes", b"first")
            continue
        with pytest.raises(CheckpointError, match="Input/output error"):
            append_line(tmp_path / "notes", b"second")
    assert (tmp_path / "notes").read_bytes() == b"first\n"


def test_a_line_that_a_full_disk_takes_in_part_is_an_error(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "notes"
    append_line(path, b"first")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 3, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*notes: File too large"):
            append_line(path, b"second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    append_line(path, b"third")
    assert path.read_bytes() == b"first\nthird\n"


@pytest.mark.parametrize("failing", ["fsync", "link"])
def test_a_file_that_cannot_be_created_leaves_nothing(failing, tmp_path, monkeypatch):
    """A file system without hard links has advice of its own."""

    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, failing, refused)
    advice = "no hard links, .*: name a file in another" if failing == "link" else "in a folder that is there"
    with pytest.raises(CheckpointError, match=rf"cannot write .*secret: Operation not permitted; .*{advice}") as found:
        create_once(tmp_path / "secret", b"x")
    assert "\n" not in str(found.value)
    assert not list(tmp_path.iterdir())
