"""Devices and links that a run is imagined on, and which client has which: a function of (seed, client)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heron.costs.round_time import Device
from heron.costs.step_flops import StepFlops
from heron.seeds import derive_seed


@dataclass(frozen=True)
class DeviceClass:
    """A kind of device and who has it.

    Attributes:
        device: the kind.
        share: probability in [0, 1] that a client which no class lists has it; the shares of a model sum to 1, or to 0
            where every client is listed.
        clients: clients that have it in any case.
    """

    device: Device
    share: float = 1.0
    clients: frozenset[int] = frozenset()


@dataclass(frozen=True)
class LinkModel:
    """What simulated time is a function of, beside what is sent and computed.

    Attributes:
        classes: at least one.
        seed: seed of the run; a client's class is drawn from it.
        server_flops_per_s: speed of the Main Server, > 0; infinity where its computing takes no time.
        flops: operations of a local step; None where computing takes no time anywhere.
    """

    classes: Sequence[DeviceClass]
    seed: int = 0
    server_flops_per_s: float = float("inf")
    flops: StepFlops | None = None

    def device(self, client_id: int) -> Device:
        """What a client has: the class that lists it, or one drawn by the shares.

        Args:
            client_id: from 0.
        """
        for one in self.classes:
            if client_id in one.clients:
                return one.device
        drawn = np.random.default_rng(derive_seed("device", self.seed, client_id)).random()
        # Draws beyond the sum, which rounding can leave below 1, belong to the last class that is drawn at all.
        shared = [one for one in self.classes if one.share]
        for one in shared[:-1]:
            if drawn < one.share:
                return one.device
            drawn -= one.share
        return shared[-1].device
