"""A step at the order boundary beyond its arithmetic: passes, statistics, what travels, what is alive."""

import gc
import weakref
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.arrays import copied
from heron.client.round import finish
from heron.config import build_federation, load_splits, recipe_config
from heron.data import Batch
from heron.engines.in_process import Federation
from heron.engines.profile import profile_client
from heron.errors import ConfigError, MessageError
from heron.metering import count_forwards
from heron.seeds import StepKey
from heron.split import SplitModel, linear_head
from heron.tensors import as_tensor
from heron.wire import SmashedData
from heron.wire.groups import Client, Probes, Settings
from tests.algorithms.test_oracles import data
from tests.settings import changed

EXACT = pytest.mark.parametrize("exact", [1, 2, 3])
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def split_model(dropout: float = 0.0, norm: type[nn.Module] = nn.BatchNorm2d) -> SplitModel:
    """Trainable: conv, norm, conv, norm."""
    torch.manual_seed(0)

    def normalise() -> nn.Module:
        return nn.BatchNorm2d(3) if norm is nn.BatchNorm2d else nn.GroupNorm(1, 3)

    client = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), normalise(), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1), normalise()
    )
    client.append(nn.Dropout(dropout))
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), linear_head((3, 4, 4), 5))


def batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(6, 1, 4, 4, generator=generator), torch.randint(0, 5, (6,), generator=generator))


def learner(split: SplitModel, **changes):
    settings = changed(Settings(), **{"learning_rate": 1e-2, "exact": 1} | changes)
    return ALGORITHMS["heron"].torch_client(split, cross_entropy, settings)[1]


def take_steps(client, count: int = 1) -> None:
    for local_step in range(count):
        step = client.step(batch(local_step), StepKey(5, 0, 0, local_step))
        next(step)
        finish(step)


@EXACT
@pytest.mark.parametrize(("scheme", "probes", "passes"), [("one_sided", 1, 2), ("one_sided", 3, 4), ("central", 2, 5)])
def test_probes_run_what_is_below_alone(exact: int, scheme: str, probes: int, passes: int) -> None:
    split = split_model()
    client = learner(split, exact=exact, estimator=Probes(probes=probes, scheme=scheme))
    with count_forwards(split.client[0]) as below, count_forwards(split.client[4]) as above:
        step = client.step(batch(), StepKey(5, 0, 0, 0))
        next(step)
        assert (below.count, above.count) == (1, 1), "smashed data is handed over before the probes"
        assert all(parameter.grad is None for parameter in split.parameters()), "and before the backward pass"
        finish(step)
    assert below.count == passes
    assert above.count == (passes if exact == 1 else 1)


@pytest.mark.parametrize("exact", [1, 2, 3, 4])
@pytest.mark.parametrize("probes", [0, 1, 3])
def test_running_statistics_follow_the_clean_pass_once(exact: int, probes: int) -> None:
    split, expected = split_model(), split_model()
    take_steps(learner(split, exact=exact, estimator=Probes(probes=probes)))
    with torch.no_grad():
        expected.client(batch().inputs)
    for index in (1, 4):
        for name in STATISTICS:
            assert torch.equal(getattr(split.client[index], name), getattr(expected.client[index], name)), (index, name)


@EXACT
def test_without_probes_everything_below_stays(exact: int) -> None:
    split, before = split_model(), split_model()
    client = learner(split, exact=exact, estimator=Probes(probes=0))
    take_steps(client, 3)
    num_below = {1: 5, 2: 4, 3: 3}[exact]
    for layer, old in zip(split.client[:num_below], before.client[:num_below], strict=True):
        for parameter, expected in zip(layer.parameters(), old.parameters(), strict=True):
            assert torch.equal(parameter, expected)
    frozen = {f"client.{name}" for name, _ in split.client[:num_below].named_parameters()}
    whole = nn.ModuleDict({"client": split.client, "auxiliary": split.auxiliary}).state_dict()
    assert client.model().keys() == whole.keys() - frozen
    assert not torch.equal(split.auxiliary.fc.weight, before.auxiliary.fc.weight)
    assert all(not key.startswith("below") for key in client.state())


def test_without_probes_and_without_an_exact_part_nothing_would_learn() -> None:
    with pytest.raises(ConfigError, match=r"estimator\.probes of at least 1 .* or use the algorithm frozen") as caught:
        learner(split_model(), exact=0, estimator=Probes(probes=0))
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_boundary_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"client\.exact: expected an integer of at least 0 or one of all, device, found 'some'"
    ):
        learner(split_model(), exact="some")


@pytest.mark.parametrize("name", ["client.0.weight", "client.1.running_mean"])
def test_a_broadcast_that_lacks_a_tensor_is_refused(name: str) -> None:
    client = learner(split_model())
    model = {key: tensor.clone() for key, tensor in client.model().items() if key != name}
    with pytest.raises(MessageError, match=name):
        client.load(model, {})


@EXACT
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_what_is_kept_between_rounds_is_of_both_parts(exact: int, optimizer: str) -> None:
    """Two rounds through model() and state() are one round of as many steps, on another learner too."""
    whole, first, second = (learner(split_model(0.3), exact=exact, optimizer=optimizer) for _ in range(3))
    take_steps(whole, 4)
    take_steps(first, 2)
    second.load(
        {name: tensor.clone() for name, tensor in first.model().items()},
        {name: copied(array) for name, array in first.state().items()},
    )
    for local_step in (2, 3):
        step = second.step(batch(local_step), StepKey(5, 0, 0, local_step))
        next(step)
        finish(step)
    for found, expected in ((second.model(), whole.model()), (second.state(), whole.state())):
        assert found.keys() == expected.keys()
        assert all(torch.equal(as_tensor(found[name]), as_tensor(tensor)) for name, tensor in expected.items())


@EXACT
@pytest.mark.parametrize("micro_batch", [0, 4])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_no_smashed_data_is_alive_while_a_client_probes(exact: int, micro_batch, checkpointing: bool) -> None:
    client = Client(batch_size=4, micro_batch=micro_batch, checkpointing=checkpointing, exact=exact)
    parties = Federation(split_model(norm=nn.GroupNorm), ALGORITHMS["heron"], *data(), Settings(client=client))
    uploads: list[weakref.ref] = []
    probes: list[bool] = []
    train = parties.main_server.train

    def train_and_watch(upload: SmashedData) -> None:
        uploads.append(weakref.ref(upload.smashed.untyped_storage()))
        train(upload)

    def before_forward(*_: object) -> None:
        if uploads:
            probes.append(all(reference() is None for reference in uploads))

    parties.main_server.train = train_and_watch
    parties.split.client[0].register_forward_pre_hook(before_forward)
    parties.run_round()
    assert len(probes) > len(uploads)
    assert all(probes)
    gc.collect()
    assert not [item for item in gc.get_objects() if type(item) is torch.Tensor and item.grad_fn is not None]


def digits_peak(exact: int | str, **changes: object) -> int:
    assignments = [f"client.exact={exact}", *(f"{key}={value}" for key, value in changes.items())]
    config = recipe_config("digits", "heron", assignments)
    return profile_client(build_federation(config, load_splits(config)), repeats=1).peak_memory_bytes


def test_memory_grows_with_the_boundary_and_not_before_it() -> None:
    """The exact head costs nothing, the last convolution little: what is below caches nothing."""
    peaks = [digits_peak(exact) for exact in (0, 1, 2, 3, 4)]
    assert peaks[1] <= 1.02 * peaks[0]
    assert peaks[2] <= 1.3 * peaks[0]
    assert all(later >= 0.98 * earlier for earlier, later in pairwise(peaks))
    assert peaks[4] == digits_peak("all")
    assert peaks[4] > 1.5 * peaks[0]
