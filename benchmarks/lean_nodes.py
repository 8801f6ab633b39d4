"""Nodes without PyTorch for scripts: a bundle, a file of examples for each, and the same clients in one process."""

from collections.abc import Collection
from pathlib import Path
from unittest import mock

import numpy as np

from heron.arrays import to_host
from heron.client.onnx_runtime import open_bundle
from heron.config import RunConfig, build_run, export_clients, load_splits, write_config
from heron.config.build import client_shares
from heron.config.sides import build_clients
from heron.data import fetch
from heron.data.arrays_file import read_arrays
from heron.deploy.process import write_client_process
from heron.engines.bundle_clients import bundle_clients
from heron.engines.clients import Clients
from heron.privacy.vault import Vault
from heron.wire.terms import Terms

POISON = "raise ImportError('torch was imported')\n"
"""Content of a package named torch that comes first on the path of a node."""


class LeanNodes:
    """Some clients of a run as nodes in which PyTorch cannot be imported.

    Args:
        folder: where bundle and examples go.
        config: of the run.
        clients: ids of these clients.

    Attributes:
        configs: further keys of their nodes' configuration.
        paths: folder of Python packages, and in `bin` of commands, that come first for their nodes.
    """

    def __init__(self, folder: Path, config: RunConfig, clients: Collection[int]) -> None:
        self._config = config
        self._bundle = folder / "bundle"
        if len(clients):
            export_clients(config, self._bundle)
        splits = load_splits(config)
        self._files: dict[int, Path] = {}
        for client_id, share in enumerate(client_shares(config, splits)):
            if client_id not in clients:
                continue
            batch = fetch(splits.train, share)
            self._files[client_id] = folder / f"examples-{client_id}.npz"
            np.savez(self._files[client_id], inputs=to_host(batch.inputs), labels=to_host(batch.labels))
        poison = folder / "poison"
        (poison / "torch").mkdir(parents=True)
        (poison / "torch" / "__init__.py").write_text(POISON)
        write_client_process(poison / "bin")
        self.configs = {number: f"bundle='{self._bundle}' data='{file}'" for number, file in self._files.items()}
        self.paths = dict.fromkeys(self._files, poison)

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self._config

    def clients(self, number: int, terms: Terms, vault: Vault) -> Clients:
        """Build the side of one client as its node does, in this process.

        Args:
            number: of the client.
            terms: as they reach the node.
            vault: keeps the secret of the node.
        """
        if number not in self._files:
            return build_clients(terms, {}, vault)
        return bundle_clients(terms, open_bundle(self._bundle), number, read_arrays(self._files[number]), vault)

    def in_one_process(self, out: Path, participants: Collection[int] | None = None) -> None:
        """Train the same federation in this process: these clients from the bundle, the others with PyTorch.

        Args:
            out: run directory.
            participants: those of every round; the run's own by default.
        """
        write_config(out, self._config)
        run = build_run(self._config, out)
        federation, lean = run.federation, {}
        of = federation.residents.of
        for number, file in self._files.items():
            bundle = open_bundle(self._bundle)
            lean[number] = bundle_clients(bundle.terms, bundle, number, read_arrays(file))
        chosen = federation.servers.participants if participants is None else lambda _: sorted(participants)
        with (
            mock.patch.object(federation.residents, "of", lambda client_id: lean.get(client_id) or of(client_id)),
            mock.patch.object(federation.servers, "participants", chosen),
        ):
            run.train()
