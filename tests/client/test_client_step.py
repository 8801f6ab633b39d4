"""What a local step does beyond its arithmetic: passes, graphs, memory, statistics, masks, replay."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.client.round import client_round, finish
from heron.client.step import Perturbed
from heron.client.torch_runtime.examples import DatasetExamples
from heron.data import Batch
from heron.metering import count_forwards
from heron.seeds import StepKey
from heron.split import SplitModel, linear_head
from heron.wire import ModelBroadcast, SmashedData
from heron.wire.groups import Probes, Settings
from heron.zo import RULES, FlatParameters, replay_
from tests.server.terms import terms_of
from tests.settings import changed

KEY = StepKey(run_seed=5, round_index=0, client_id=0, local_step=0)


def batchnorm_split(*, dropout: float = 0.0) -> SplitModel:
    torch.manual_seed(0)
    client = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(dropout))
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), linear_head((3, 4, 4), 5))


def batch(size: int = 6, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(size, 1, 4, 4, generator=generator), torch.randint(0, 5, (size,), generator=generator))


def learner(name: str, split: SplitModel, **changes):
    algorithm = ALGORITHMS[name]
    if len(algorithm.optimizers) == 1:
        changes |= {"optimizer": algorithm.optimizers[0]}
    settings = changed(Settings(), **changes)
    return algorithm.torch_client(algorithm.equipped(split, settings, batch().inputs), cross_entropy, settings)[1]


@pytest.mark.parametrize(
    ("scheme", "probes", "forwards"),
    [("one_sided", 1, 2), ("one_sided", 4, 5), ("central", 2, 5), ("jvp", 1, 2), ("jvp", 4, 5)],
)
def test_heron_makes_exactly_its_forwards(scheme: str, probes: int, forwards: int) -> None:
    split = batchnorm_split()
    client = learner("heron", split, estimator=Probes(probes=probes, scheme=scheme))
    with count_forwards(split.client) as counted, count_forwards(split.auxiliary) as auxiliary:
        step = client.step(batch(), KEY)
        next(step)
        assert counted.count == 1, "smashed data is handed over before the probes"
        finish(step)
    assert counted.count == auxiliary.count == forwards


def answer(name: str, smashed: torch.Tensor | Perturbed | None) -> torch.Tensor | None:
    """What a Main Server would send back for a first upload."""
    if ALGORITHMS[name].answers == "loss":
        return torch.tensor(1.5)
    return torch.ones_like(smashed) if ALGORITHMS[name].answers else None


@pytest.mark.parametrize(
    ("scheme", "probes", "forwards"), [("one_sided", 1, 2), ("one_sided", 4, 5), ("central", 2, 5)]
)
@pytest.mark.parametrize("name", ["ho_sfl", "hosl"])
def test_hybrid_order_clients_make_exactly_their_forwards(name: str, scheme: str, probes: int, forwards: int) -> None:
    """(1 + q) F_c; HO-SFL uploads one of them, HOSL each."""
    split = batchnorm_split()
    client = learner(name, split, estimator=Probes(probes=probes, scheme=scheme))
    with count_forwards(split.client) as counted, count_forwards(split.auxiliary) as auxiliary:
        step = client.step(batch(), KEY)
        uploads = [next(step)]
        assert counted.count == 1, "smashed data is handed over before the next pass"
        while True:
            try:
                uploads.append(step.send(answer(name, uploads[0])))
            except StopIteration:
                break
    assert (counted.count, auxiliary.count) == (forwards, 0)
    assert len(uploads) == {"ho_sfl": 1, "hosl": forwards}[name]
    assert [isinstance(upload, Perturbed) for upload in uploads] == [True] * (len(uploads) - 1) + [False]


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "one_sided") for name in ("heron", "ho_sfl", "hosl", "frozen")), ("heron", "jvp")]
)
def test_backprop_free_clients_build_no_graph_and_hand_over_differentiable_data(name: str, scheme: str) -> None:
    split = batchnorm_split()
    client = learner(name, split, estimator=Probes(scheme=scheme))
    outputs = []
    hooks = [module.register_forward_hook(lambda *args: outputs.append(args[-1])) for module in split.client]
    step = client.step(batch(), KEY)
    smashed = next(step)
    finish(step, answer(name, smashed))
    for hook in hooks:
        hook.remove()
    assert all(output.grad_fn is None and not output.requires_grad for output in outputs)
    assert all(parameter.grad is None for parameter in split.parameters())
    # `inference_mode` tensors could not enter the server's backward pass.
    smashed = smashed.smashed if isinstance(smashed, Perturbed) else smashed
    assert not smashed.is_inference()
    cross_entropy(split.server(smashed), batch().labels).backward()
    assert split.server[1].weight.grad is not None


@pytest.mark.parametrize(("name", "scheme"), [*((name, "one_sided") for name in ALGORITHMS), ("heron", "jvp")])
def test_running_statistics_follow_the_clean_pass_once(name: str, scheme: str) -> None:
    """Also for the frozen client: else its evaluation collapses and every gain over it is inflated."""
    split, expected = batchnorm_split(), batchnorm_split()
    client = learner(name, split, estimator=Probes(probes=3, scheme=scheme))
    step = client.step(batch(), KEY)
    smashed = next(step)
    finish(step, answer(name, smashed))
    with torch.no_grad():
        expected.client(batch().inputs)
    assert torch.equal(split.client[1].running_mean, expected.client[1].running_mean)
    assert torch.equal(split.client[1].running_var, expected.client[1].running_var)
    assert int(split.client[1].num_batches_tracked) == 1


def test_smashed_data_is_dead_when_the_probes_run() -> None:
    split = batchnorm_split()
    client = learner("heron", split)
    dataset = TensorDataset(*(torch.cat([part, part]) for part in (batch().inputs, batch().labels)))
    model = client.model()
    terms = terms_of(model, buffers=client.runtime.buffers(), client={"batch_size": 6})
    data = DatasetExamples(dataset, np.arange(12), torch.device("cpu"))
    alive: list[weakref.ref] = []
    probes = []

    def watch(*_: object) -> None:
        if alive:
            gc.collect()
            probes.append(alive[-1]() is None)

    rounds = client_round(client, terms, ModelBroadcast(0, 0, model), {}, data)
    handle = split.client.register_forward_pre_hook(watch)
    for message in rounds:
        if isinstance(message, SmashedData):
            alive.append(weakref.ref(message.smashed.untyped_storage()))
        del message
    handle.remove()
    assert len(probes) >= 2
    assert all(probes), "a probe ran while the smashed data of its step was alive"


@pytest.mark.parametrize(
    ("name", "scheme"), [("heron", "one_sided"), ("heron", "jvp"), ("ho_sfl", "one_sided"), ("hosl", "one_sided")]
)
def test_every_pass_of_a_step_draws_the_same_dropout_mask(name: str, scheme: str) -> None:
    split = batchnorm_split(dropout=0.5)
    # With mu tiny, clean and perturbed outputs differ visibly only if the masks do.
    client = learner(name, split, estimator=Probes(mu=1e-7, probes=2, scheme=scheme))
    kept = []
    hook = split.client[3].register_forward_hook(lambda _, __, output: kept.append(output != 0))
    state = torch.get_rng_state()
    step = client.step(batch(), KEY)
    finish(step, answer(name, next(step)))
    hook.remove()
    assert len(kept) == 3
    assert torch.equal(kept[0], kept[1])
    assert torch.equal(kept[0], kept[2])
    assert torch.equal(torch.get_rng_state(), state), "the process-wide generator was touched"
    other = []
    hook = split.client[3].register_forward_hook(lambda _, __, output: other.append(output != 0))
    step = client.step(batch(), StepKey(5, 0, 0, 1))
    next(step)
    hook.remove()
    assert not torch.equal(kept[0], other[0]), "another step draws another mask"


@pytest.mark.parametrize("scheme", ["one_sided", "jvp"])
@pytest.mark.parametrize("rule", list(RULES))
def test_a_round_is_rebuilt_from_seeds_and_scalars(rule: str, scheme: str) -> None:
    split, twin = batchnorm_split(), batchnorm_split()
    estimator = Probes(probes=2, scheme=scheme)
    client = learner("heron", split, optimizer=rule, learning_rate=1e-2, estimator=estimator)
    records = []
    for local_step in range(5):
        step = client.step(batch(seed=local_step), StepKey(5, 0, 0, local_step))
        next(step)
        finish(step)
        records.append(client.last_step)
    flat = FlatParameters(nn.ModuleDict({"client": twin.client, "auxiliary": twin.auxiliary}))
    update_rule = RULES[rule](1e-2)
    replay_(update_rule, update_rule.init(flat.theta), flat, records)
    rebuilt = flat.named_tensors()
    assert all(torch.equal(client.model()[name], tensor) for name, tensor in rebuilt.items())


@pytest.mark.parametrize(("name", "scheme"), [("heron", "one_sided"), ("heron", "jvp"), ("cse_fsl", "one_sided")])
def test_micro_batches_change_the_loss_by_rounding_only(name: str, scheme: str) -> None:
    def group_split() -> SplitModel:
        split = batchnorm_split()
        split.client[1] = nn.GroupNorm(1, 3)
        return split

    results = []
    for micro_batch in (0, 4):
        estimator = Probes(mu=1e-2, scheme=scheme)
        client = learner(name, group_split(), micro_batch=micro_batch, optimizer="sgd", estimator=estimator)
        step = client.step(batch(10), KEY)
        smashed = next(step)
        results.append((smashed, finish(step).loss, client.model()))
    (smashed, loss, model), (micro_smashed, micro_loss, micro_model) = results
    torch.testing.assert_close(micro_smashed, smashed)
    torch.testing.assert_close(micro_loss, loss)
    for tensor_name, tensor in model.items():
        torch.testing.assert_close(micro_model[tensor_name], tensor, atol=1e-5, rtol=1e-4)
