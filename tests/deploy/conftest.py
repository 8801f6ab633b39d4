import shutil
import socket

import pytest

from heron.deploy import DeploymentPlan, init_deployment

NUM_CLIENTS = 2


def free_ports(count):
    """The first of some ports in a row that are free on loopback."""
    for first in range(20000, 60000, 37):
        probes = [socket.socket() for _ in range(count)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return first
    raise AssertionError("no free ports")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "deployment"
    init_deployment(folder, DeploymentPlan(NUM_CLIENTS, port=free_ports(NUM_CLIENTS + 1)))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "deployment")
