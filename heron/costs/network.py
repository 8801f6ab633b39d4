"""Simulated devices and links of a run, and their assignment to clients: a function of (seed, client)."""

from collections.abc import Sequence
from dataclasses import dataclass

from heron.costs.operations import StepFlops
from heron.costs.round_time import Device
from heron.wire.network import class_of


@dataclass(frozen=True)
class DeviceClass:
    """A kind of device and the clients that have it.

    Attributes:
        device: the kind.
        share: probability in [0, 1] that a client listed by no class has this device; the shares of a model sum to 1,
            or to 0 if every client is listed.
        clients: clients that certainly have this device.
        flops: operations of their local step, where it is another than that of most; None where it is not.
    """

    device: Device
    share: float = 1.0
    clients: frozenset[int] = frozenset()
    flops: StepFlops | None = None


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
        return class_of(self.classes, self.seed, client_id).device

    def flops_of(self, client_id: int) -> StepFlops | None:
        """Operations of a client's local step, and of the Main Server with what it uploads.

        Args:
            client_id: number of the client, from 0.
        """
        if self.flops is None:
            return None
        return class_of(self.classes, self.seed, client_id).flops or self.flops
