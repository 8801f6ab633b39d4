"""Simulated devices and links of a run, and their assignment to clients: a function of (seed, client)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heron.costs.operations import StepFlops
from heron.costs.round_time import Device
from heron.seeds import derive_seed


@dataclass(frozen=True)
class DeviceClass:
    """A kind of device and the clients that have it.

    Attributes:
        device: the kind.
        share: probability in [0, 1] that a client listed by no class has this device; the shares of a model sum to 1,
            or to 0 if every client is listed.
        clients: clients that certainly have this device.
    """

    device: Device
    share: float = 1.0
    clients: frozenset[int] = frozenset()


@dataclass(frozen=True)
class LinkModel:
    """Model of devices and links, which determines simulated time together with traffic and computation.

    Attributes:
        classes: classes of devices, at least one.
        seed: seed of the run; a client's class is drawn from it.
        server_flops_per_s: speed of the Main Server, > 0; infinity if its computation takes no time.
        flops: operations of a local step; None if computation takes no time anywhere.
    """

    classes: Sequence[DeviceClass]
    seed: int = 0
    server_flops_per_s: float = float("inf")
    flops: StepFlops | None = None

    def device(self, client_id: int) -> Device:
        """Device of a client: that of the class that lists it, or one drawn by the shares.

        Args:
            client_id: number of the client, from 0.
        """
        for one in self.classes:
            if client_id in one.clients:
                return one.device
        drawn = np.random.default_rng(derive_seed("device", self.seed, client_id)).random()
        # Rounding can leave the sum below 1; draws beyond it get the last class with a share.
        shared = [one for one in self.classes if one.share]
        for one in shared[:-1]:
            if drawn < one.share:
                return one.device
            drawn -= one.share
        return shared[-1].device
