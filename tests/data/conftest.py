"""Fixtures of all tests of the data."""

import socket

import pytest

from tests.data.cifar10_files import encoded, pictures, table, write


@pytest.fixture
def root(tmp_path):
    """30 training and 10 test images, every class alike."""
    write(tmp_path, "train", table([encoded(p) for p in pictures(30)], [i % 10 for i in range(30)]))
    write(tmp_path, "test", table([encoded(p) for p in pictures(10, seed=1)], list(range(10))))
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    """No test, and no reading of a local file, asks the network for anything."""

    def refuse(*address, **options):
        raise AssertionError(f"network use: {address}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("heron.data.hub.only_cached", lambda _: False)  # `FakeHub` is where the hub would be
