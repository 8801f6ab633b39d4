"""The runs of `digests.py`: small settings that reach every algorithm and everything that travels.

A setting has a short name here, and `_KEYS` says which key of the configuration that is. Later settings of a run
replace earlier ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Short names of the keys that runs set, by section: a key that is renamed changes here and nowhere else.
_KEYS = """
: threads rounds wire every=evaluation_period update update_codec seed_groups digests=digest_period
data: train=train_limit validation_share=validation validation=validation_limit test=test_limit
clients: clients=total per_round partition alpha weighting dropout stragglers
client: batch=batch_size micro=micro_batch checkpointing steps=local_steps period=upload_period exact
client: budget=memory_budget optimizer schedule keep=keep_state kernel
smashed: codec zstd
estimator: probes noise=distribution scheme
server: server=optimizer refresh=refresh_auxiliary reuse
fed_server: fed=optimizer aggregation max_norm max_scalar
link: bundle up=uplink_mbps down=downlink_mbps latency=latency_ms client_speed=client_gflops
link: server_speed=server_gflops devices=profile
split: cut width norm lora=lora_rank base
"""

ALL = "heron ho_sfl hosl mu_splitfed cse_fsl fsl_sage sflv1 sflv2 fedavg ho_fl decomfl fedkseed frozen"
_FEW = "rounds=2 clients=4 steps=3"
_IMAGES = "rounds=2 clients=2 steps=2 batch=8 train=64 test=32 validation_share=0 width=4"
_TEXTS = "rounds=1 clients=2 steps=2 batch=2 train=24 validation=4 test=2"
_SKEWED = "partition=dirichlet alpha=0.5 weighting=examples"
_ABSENT = "rounds=3 clients=6 per_round=4 dropout=0.3 stragglers=0.4"
_SCALARS = "update=scalars keep=false"

# Recipe, settings of all its runs, and rows of (name, algorithms, further settings).
RUNS: tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "digits",
        _FEW,
        (
            ("plain", ALL, ""),
            ("pass", "heron sflv2", "steps=0 clients=5"),
            ("wire", ALL, f"wire=true {_SKEWED}"),
            ("absent", ALL, f"{_ABSENT} {_SKEWED}"),
            ("absent-scalars", "heron", f"{_ABSENT} {_SCALARS} wire=true"),
            ("absent-coded", "heron cse_fsl fedavg sflv1", f"{_ABSENT} update_codec=int4"),
            ("resumed", "heron ho_sfl fsl_sage sflv2", "rounds=3"),
            ("resumed-scalars", "heron", f"rounds=3 {_SCALARS}"),
            *((f"scalars-{rule}", "heron", f"{_SCALARS} optimizer={rule} wire=true") for rule in ("sgd", "momentum")),
            ("scalars-adam", "heron", f"{_SCALARS} optimizer=adam digests=1 rounds=3"),
            ("scalars-groups", "heron", f"{_SCALARS} optimizer=sgd seed_groups=2 wire=true rounds=3"),
            ("groups", "heron hosl", "seed_groups=2"),
            ("scalars-all", "heron", f"{_SCALARS} exact=0 noise=gaussian optimizer=sgd seed_groups=2 bundle=true"),
            ("scalars-coded", "heron", f"{_SCALARS} update_codec=int8 codec=int4 zstd=true bundle=true wire=true"),
            ("optimizer-sgd", "heron hosl cse_fsl sflv1 sflv2 fedavg", "optimizer=sgd server=sgd"),
            ("optimizer-momentum", "heron cse_fsl sflv2", "optimizer=momentum keep=true"),
            ("schedule", "heron sflv2 fedavg", "schedule=cosine rounds=3 keep=true"),
            *((f"codec-{c}", "heron sflv1 sflv2", f"codec={c} zstd=true") for c in ("fp16", "int8", "int4", "dither6")),
            ("codec-zstd", "ho_sfl cse_fsl fsl_sage frozen", "codec=int4 zstd=true wire=true period=2"),
            *((f"update-{c}", "heron fedavg", f"update_codec={c}") for c in ("fp16", "int4", "dither6")),
            ("update-int8", "heron hosl cse_fsl fsl_sage sflv1 sflv2 fedavg", "update_codec=int8 wire=true"),
            ("bundle", "heron cse_fsl fsl_sage frozen", "bundle=true wire=true codec=int8 zstd=true"),
            ("bundle-fp32", "heron", "bundle=true"),
            *((f"exact-{n}", "heron", f"exact={n} {_SCALARS}") for n in ("0", "1")),
            *((f"exact-{n}-dense", "heron", f"exact={n} period=2") for n in ("0", "1", "all")),
            ("probes-0", "heron", "exact=1 probes=0"),
            ("probes-3", "heron ho_sfl hosl", "probes=3 noise=gaussian"),
            ("central", "heron ho_sfl hosl", "scheme=central"),
            ("central-scalars", "heron", f"scheme=central probes=2 {_SCALARS}"),
            ("jvp", "heron", "scheme=jvp"),
            ("jvp-scalars", "heron", f"scheme=jvp exact=0 {_SCALARS}"),
            ("micro", ALL, "micro=8"),
            ("micro-scalars", "heron", f"micro=5 exact=0 {_SCALARS}"),
            ("checkpointing", "heron cse_fsl fsl_sage sflv1 sflv2 fedavg", "checkpointing=true"),
            ("adam", "heron cse_fsl sflv1 fedavg", "fed=adam rounds=3"),
            ("median", "heron cse_fsl sflv2 fedavg", "aggregation=median clients=5"),
            ("trimmed", "heron sflv1 fedavg", f"aggregation=trimmed_mean clients=5 {_SKEWED}"),
            ("bounded", "heron cse_fsl sflv2 fedavg", "max_norm=0.05"),
            ("bounded-scalars", "heron", f"max_scalar=0.5 max_norm=0.05 {_SCALARS}"),
            ("bounded-ho_sfl", "ho_sfl", "max_scalar=0.001"),
            ("reuse", "heron cse_fsl frozen", "reuse=2 codec=int8 zstd=true"),
            ("refresh", "heron cse_fsl", "refresh=true rounds=3"),
            ("timed", "heron sflv1 ho_sfl fedavg", "up=10 down=50 latency=20 client_speed=1 server_speed=100"),
            ("devices", "heron sflv2", "devices=examples/devices.toml client_speed=1 server_speed=100"),
            ("budget", "heron", "budget=200KiB"),
            ("cut", "heron sflv2", "cut=relu2 every=2"),
            ("kernel", "heron ho_sfl", "kernel=numba"),
            ("flower", "heron", f"clients=3 {_SCALARS} codec=int8 zstd=true update_codec=int8"),
        ),
    ),
    (
        "digits-published",
        f"{_FEW} steps=2",
        (
            ("plain", ALL, ""),
            ("scalars", "heron", _SCALARS),
            ("resumed", "heron", "rounds=3"),
            (
                "everything",
                "heron",
                f"{_SCALARS} {_ABSENT} codec=int4 zstd=true update_codec=int8 wire=true",
            ),
        ),
    ),
    (
        "cifar10-resnet18-small",
        _IMAGES,
        (
            ("plain", ALL, ""),
            ("scalars", "heron", f"{_SCALARS} optimizer=sgd wire=true seed_groups=2"),
            ("coded", "heron sflv2", "update_codec=int8 codec=int4 zstd=true wire=true"),
            ("group-norm", "heron cse_fsl sflv1", "norm=group micro=4 checkpointing=true"),
            ("jvp", "heron", "norm=group scheme=jvp"),
        ),
    ),
    (
        "e2e-gpt2-mini",
        _TEXTS,
        (
            ("plain", "heron ho_sfl sflv2 frozen", ""),
            ("scalars", "heron", f"{_SCALARS} exact=1 wire=true codec=int8 zstd=true"),
            ("int8", "heron", "base=int8 micro=1"),
            ("full", "cse_fsl", "lora=0 checkpointing=true partition=natural"),
        ),
    ),
)


@dataclass(frozen=True)
class DigestRun:
    """One run.

    Attributes:
        name: RECIPE/ALGORITHM/ROW.
        recipe: key of the recipes.
        algorithm: key of the registry.
        assignments: `key=value` with complete keys.
        num_clients: size of the federation, which Flower wants to know.
    """

    name: str
    recipe: str
    algorithm: str
    assignments: tuple[str, ...]
    num_clients: int

    @property
    def is_simulation(self) -> bool:
        """Whether it runs in Flower."""
        return "/flower" in self.name

    @property
    def is_resumed(self) -> bool:
        """Whether it is interrupted after its second round and resumed."""
        return "/resumed" in self.name


def all_runs() -> Iterator[DigestRun]:
    """The runs of the table, in its order."""
    keys = dict(_keys())
    for recipe, common, rows in RUNS:
        for name, algorithms, further in rows:
            settings = dict(word.split("=", 1) for word in f"threads=1 {common} {further}".split())
            if "devices" in settings:
                settings["devices"] = str(Path(__file__).parents[1] / settings["devices"])
            assignments = tuple(f"{keys[short]}={value}" for short, value in settings.items())
            for algorithm in algorithms.split():
                yield DigestRun(
                    f"{recipe}/{algorithm}/{name}", recipe, algorithm, assignments, int(settings["clients"])
                )


def _keys() -> Iterator[tuple[str, str]]:
    """Short name and key of every setting."""
    for line in _KEYS.strip().splitlines():
        section, _, words = line.partition(":")
        for word in words.split():
            short, _, name = word.partition("=")
            yield short, f"{section}.{name or short}".removeprefix(".")
