"""Settings of a run: each is defined here, once, in the group that is its section of a TOML file.

A configuration, the engines, both servers, the clients and `heron.train` hold these very objects. A zero means "none"
or "all", as each field says. A group with a value of another type or out of range cannot be made.
"""

from dataclasses import dataclass, field
from typing import Literal

from heron.checked import Checked
from heron.cores import available_cores
from heron.ranges import (
    HalfShare,
    NonNegativeFloat,
    NonNegativeInt,
    NumBytes,
    NumThreads,
    PoolSize,
    PositiveFloat,
    PositiveInt,
    Probability,
    Seed,
)
from heron.wire.network import Network
from heron.wire.payload import Codec
from heron.wire.population import Clients as Clients  # noqa: PLC0414 - all groups can be imported from here
from heron.wire.privacy import Privacy
from heron.wire.uploads import Smashed as Smashed  # noqa: PLC0414 - likewise
from heron.zo.kernels import KernelName
from heron.zo.probes import Scheme
from heron.zo.rules import OptimizerName
from heron.zo.stream import Distribution

Update = Literal["dense", "scalars"]
RuntimeName = Literal["torch", "onnx"]
LearningName = Literal["zeroth_order", "local_zeroth_order", "local_exact"]
AggregationMethod = Literal["mean", "median", "trimmed_mean"]


@dataclass(frozen=True)
class Client(Checked, section="client"):
    """Section `[client]`: the work of each client.

    Attributes:
        batch_size: examples per local step, B.
        micro_batch: examples per forward pass; 0 for the whole batch.
        checkpointing: whether passes that build a graph keep few activations and compute the rest again.
        local_steps: local steps per round, h; 0 for one pass over the client's data.
        upload_period: local steps per upload of smashed data, k; coupled algorithms upload every step.
        exact: how many of the client's modules, counted from the auxiliary network down, heron's clients train exactly;
            0 is HERON-SFL as published, `all` CSE-FSL's client; `device` for as many as its class in `link.profile`
            says (docs/guides/fleet.md). Other algorithms ignore it.
        learning: the loss that heron's clients descend below their exact part: `zeroth_order`, the auxiliary network's,
            by probes; `local_zeroth_order` and `local_exact`, one for each group of layers, from a small head of its
            own, by probes (heads exactly if `exact` is not 0) or by gradients within the group.
        groups: number of these groups, of heron and local; 0 for as many as there are, from activation to activation or
            a block each.
        local_pool: side of the map that the head of a group averages its inputs to, of heron and local.
        memory_budget: bytes, or a text such as `64MiB`: `exact` becomes the largest whose step fits, and this 0, before
            anything is saved; 0 for none; `device` for that of each client's class in `link.profile`. It replaces a
            recipe's `exact` where it is given. `local_zeroth_order` becomes `local_exact` where that fits. For heron
            and ho_fl.
        optimizer: update rule; ho_sfl has `sgd` only.
        learning_rate: step size of the clients, eta_l.
        exact_learning_rate: step size of heron's exactly trained modules; 0 for that of the others.
        schedule: `constant`, or `cosine`: step sizes fall to nothing over the rounds of the run as half a cosine.
        keep_state: whether the optimiser state survives from round to round.
        kernel: code of the passes over theta: `auto`, `numpy`, `numba` (CPU; takes 130 MiB in the process), `torch` or
            `triton` (CUDA). All give the same bits, so a run may be resumed with another one.
        runtime: what computes a client's network: `torch`, or `onnx`, an export of it without PyTorch (docs/lean.md).
            The two differ by rounding.
    """

    batch_size: PositiveInt = 32
    micro_batch: NonNegativeInt = 0
    checkpointing: bool = False
    local_steps: NonNegativeInt = 0
    upload_period: PositiveInt = 1
    exact: NonNegativeInt | Literal["all", "device"] = 0
    learning: LearningName = "zeroth_order"
    groups: NonNegativeInt = 0
    local_pool: PositiveInt = 4
    memory_budget: NumBytes | Literal["device"] = 0
    optimizer: OptimizerName = "adam"
    learning_rate: PositiveFloat = 1e-3
    exact_learning_rate: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    keep_state: bool = True
    kernel: KernelName = "auto"
    runtime: RuntimeName = "torch"


@dataclass(frozen=True)
class Probes(Checked, section="estimator"):
    """Section `[estimator]`: the probes of zeroth-order clients.

    Attributes:
        mu: smoothing radius per coordinate, the length of a probe's step; `jvp` ignores it.
        probes: directions per step, q; 0 leaves everything below the order boundary as it is (needs client.exact).
        distribution: `rademacher` or `gaussian`.
        scheme: `one_sided`, `central`, or `jvp`: exact directional derivatives, the noise-free upper bound.
        candidates: K, the directions from which fedkseed's clients draw, the same for the whole run; K numbers travel
            each way.
        sampling: how they draw: `uniform`, or `pro`, more often what had large projected gradients so far.
    """

    mu: PositiveFloat = 1e-3
    probes: NonNegativeInt = 1
    distribution: Distribution = "rademacher"
    scheme: Scheme = "one_sided"
    candidates: PoolSize = 4096
    sampling: Literal["uniform", "pro"] = "uniform"


@dataclass(frozen=True)
class Server(Checked, section="server"):
    """Section `[server]`: the Main Server.

    Attributes:
        optimizer: `adam` or `sgd`.
        learning_rate: step size of the Main Server, eta_s.
        refresh_auxiliary: whether the Main Server aligns the auxiliary network that clients train with its own
            gradients, after it was averaged; FSL-SAGE aligns its own in any case.
        reuse: further steps after each upload, on uploads drawn from the last `buffer_size`; decoupled algorithms only.
        buffer_size: uploads kept for that, packed as they came.
        alignment_period: rounds from one alignment of the auxiliary network to the next.
        alignment_steps: passes over the stored smashed data in each alignment.
        alignment_learning_rate: step size of the Adam that aligns.
        zeroth_steps: steps of mu_splitfed's Main Server on each clean upload, tau.
        joint_probes: whether mu_splitfed's Main Server perturbs its own parameters, too, while it scores the probes of
            a client; the paper can be read either way.
    """

    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: PositiveFloat = 1e-3
    refresh_auxiliary: bool = False
    reuse: NonNegativeInt = 0
    buffer_size: PositiveInt = 64
    alignment_period: PositiveInt = 1
    alignment_steps: PositiveInt = 10
    alignment_learning_rate: PositiveFloat = 1e-2
    zeroth_steps: PositiveInt = 2
    joint_probes: bool = False


@dataclass(frozen=True)
class Averaging(Checked, section="fed_server"):
    """Section `[fed_server]`: the Fed Server's way from a round's replies to the next model.

    Attributes:
        optimizer: `average` takes the mean; `step` goes `learning_rate` of the way to it, from the copies of
            mu_splitfed's server part, too; `adam` makes a step of FedAdam (Reddi et al., ICLR 2021) with the averaged
            update. Statistics of BatchNorm are averaged by all. `average` ignores the four keys of FedAdam. With
            `update=scalars` the other two need `seed_groups`, and models go down whole: nobody can replay such a step.
        learning_rate: step size of FedAdam and of `step`, eta.
        beta1: decay of its first moment, in [0, 1).
        beta2: decay of its second moment, in [0, 1).
        epsilon: degree of its adaptivity, tau.
        aggregation: what the mean is: `mean` itself, or coordinate by coordinate `median` or `trimmed_mean` (Yin et
            al., ICML 2018), whatever `clients.weighting`. With `update=scalars` only of what travels as tensors.
        trim: share of replies that `trimmed_mean` leaves out at either end, in [0, 0.5), rounded up.
        max_norm: largest norm of a client's change of trained tensors; larger ones are scaled down to it; 0 for none.
        max_scalar: largest absolute projected gradient with `update=scalars`; larger ones are cut to it; 0 for none.
    """

    optimizer: Literal["average", "step", "adam"] = "average"
    learning_rate: PositiveFloat = 1e-2
    beta1: Probability = 0.9
    beta2: Probability = 0.99
    epsilon: PositiveFloat = 1e-3
    aggregation: AggregationMethod = "mean"
    trim: HalfShare = 0.1
    max_norm: NonNegativeFloat = 0.0
    max_scalar: NonNegativeFloat = 0.0


@dataclass(frozen=True)
class Settings(Checked):
    """All settings of a run; without a section: those of the run as a whole.

    Attributes:
        seed: seed of everything random, from 0.
        rounds: number of rounds, T.
        device: torch device, e.g. `cpu` or `cuda:0`.
        threads: CPU threads of torch; results are bit-identical for one value of it. The default is all cores.
        wire: whether every message is encoded and decoded, as a network would; the results are the same.
        evaluation_period: rounds from one evaluation to the next.
        update: how what clients learn by zeroth order travels: `dense`, as tensors, or `scalars`, as projected
            gradients that are replayed; ho_sfl always sends scalars.
        update_codec: how model tensors travel: `fp32` as they are; `fp16`, `int8`, `int4` or `dither6`: float16 down,
            and up how they changed, in so few bits. What goes as scalars is not touched.
        seed_groups: G groups that share their directions, client i in group i mod G; 0 for each client's own ones.
        secure_sum: whether scalars, and what travels next to them, go up under masks that cancel in the sum of a seed
            group, so that no server sees those of one client.
        digest_period: rounds from one check that clients hold the same parameters to the next, with `scalars`.
        clients: the population of clients.
        client: the work of each client.
        smashed: the form of the smashed data that they upload.
        estimator: the probes of zeroth-order clients.
        server: the Main Server.
        fed_server: the Fed Server.
        privacy: differential privacy of what clients learn.
        link: messages, and simulated lines and devices.
    """

    seed: Seed = 0
    rounds: PositiveInt = 20
    device: str = "cpu"
    threads: NumThreads = field(default_factory=available_cores)
    wire: bool = False
    evaluation_period: PositiveInt = 1
    update: Update = "dense"
    update_codec: Codec = "fp32"
    seed_groups: NonNegativeInt = 0
    secure_sum: bool = False
    digest_period: PositiveInt = 10
    clients: Clients = field(default_factory=Clients)
    client: Client = field(default_factory=Client)
    smashed: Smashed = field(default_factory=Smashed)
    estimator: Probes = field(default_factory=Probes)
    server: Server = field(default_factory=Server)
    fed_server: Averaging = field(default_factory=Averaging)
    privacy: Privacy = field(default_factory=Privacy)
    link: Network = field(default_factory=Network)

    @property
    def hides_numbers(self) -> bool:
        """True if nobody is sent the number of a client's examples: noise or masks are for what it learned of them."""
        return self.privacy.is_on or self.secure_sum

    @property
    def needs_secret(self) -> bool:
        """True if clients draw what nobody else may draw again: noise, batches, labels or masks."""
        return bool(self.privacy.is_on or self.privacy.label_budget or self.smashed.noise or self.secure_sum)
