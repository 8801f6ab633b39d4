"""Parts and settings from which a Main Server is built."""

from dataclasses import dataclass, field

from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.wire.groups import Averaging, Probes, Server


@dataclass(frozen=True)
class ServerSetup:
    """Parts and settings of a Main Server.

    Attributes:
        split: the cut network; the server part is trained in place.
        criterion: mean loss over a batch.
        run_seed: seed of the run; Dropout masks of a step depend on it and on the position of the step.
        settings: update rule, alignment of auxiliary networks, reuse of uploads.
        estimator: probes of a server that learns by zeroth order.
        averaging: the step from copies for each client to the next model.
    """

    split: SplitModel
    criterion: Criterion
    run_seed: int
    settings: Server
    estimator: Probes = field(default_factory=Probes)
    averaging: Averaging = field(default_factory=Averaging)
