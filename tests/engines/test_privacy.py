"""The account of a run's privacy, and a federation with it: noise, batches, what travels, resumption, refusals."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import heron
from heron.algorithms import ALGORITHMS
from heron.client.batching import step_positions
from heron.data import Splits
from heron.engines.in_process import Federation
from heron.engines.privacy import PrivacyAccount
from heron.errors import CheckpointError, ConfigError, HeronError, MissingExtraError, SplitError, TrainingError
from heron.privacy import Releases, Secret, hidden_epsilon, seen_epsilon
from heron.privacy.vault import Vault
from heron.runs.checkpoint import load_checkpoint
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from heron.split import SplitModel, linear_head
from heron.wire import Message, Reply, ScalarReply, Upload
from heron.wire.groups import Client, Clients, Probes, Settings
from heron.wire.privacy import Privacy
from tests.settings import changed

pytest.importorskip("dp_accounting")
SIZES = (40, 24, 32)
STEPS, BATCH, ROUNDS, DELTA = 3, 8, 4, 1e-3
PRIVATE = Settings(
    rounds=ROUNDS,
    threads=1,
    clients=Clients(total=3),
    client=Client(batch_size=BATCH, local_steps=STEPS, learning_rate=1e-2),
    estimator=Probes(probes=2),
    privacy=Privacy(noise=2.0, delta=DELTA),
)


def split_model(norm: nn.Module | None = None, extra: nn.Module | None = None) -> SplitModel:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 2, 3, padding=1), norm or nn.GroupNorm(1, 2), nn.ReLU(), *([extra] if extra else [])]
    return SplitModel(nn.Sequential(*layers), nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), linear_head((2, 4, 4), 3))


def examples() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(sum(SIZES), 1, 4, 4, generator=generator), torch.arange(sum(SIZES)) % 3)


def shares() -> list[np.ndarray]:
    return np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])


def federation(
    name: str = "heron", split: Any = None, vault: Vault | None = None, data: Any = None, **changes
) -> Federation:
    settings = changed(PRIVATE, **changes)
    split = split_model(extra=nn.Conv2d(2, 2, 3, padding=1)) if split == "deep" else split
    return Federation(split or split_model(), ALGORITHMS[name], data or examples(), shares(), settings, vault=vault)


def messages_of(parties: Federation, rounds: int = 1) -> list[Message]:
    found: list[Message] = []
    parties.listeners.append(lambda message, _: found.append(message))
    for _ in range(rounds):
        parties.run_round()
    return found


def account(planned: int = ROUNDS, *, uploads: bool = True, **privacy: Any) -> PrivacyAccount:
    settings = changed(PRIVATE, privacy={"noise": "auto"} | privacy)
    return PrivacyAccount(settings, SIZES, [planned] * 3, uploads=uploads)


def test_figures_are_those_of_the_smallest_client() -> None:
    spent = account(noise=2.0)
    assert set(spent.figures().values()) == {0.0, DELTA}
    for _ in range(ROUNDS):
        spent.charge([0, 1, 2])
    releases = Releases(STEPS * ROUNDS, BATCH / min(SIZES), 2.0)
    hidden, seen = hidden_epsilon(releases, DELTA), seen_epsilon(releases, DELTA)
    assert hidden < seen
    assert spent.figures() == {
        "epsilon_other_clients": hidden,
        "epsilon_public": hidden,
        "epsilon_fed_server": seen,
        "epsilon_main_server": seen,
        "delta": DELTA,
    }


def test_without_uploads_the_fed_server_sees_no_batch_and_there_is_no_main_server() -> None:
    spent = account(noise=2.0, uploads=False)
    spent.charge([0, 1, 2])
    figures = spent.figures()
    assert figures["epsilon_fed_server"] == figures["epsilon_public"]
    assert "epsilon_main_server" not in figures


def test_a_larger_client_that_was_there_more_often_may_have_spent_most() -> None:
    spent = account(noise=2.0)
    spent.charge([1])
    for _ in range(40):
        spent.charge([0])
    often = hidden_epsilon(Releases(40 * STEPS, BATCH / 40, 2.0), DELTA)
    assert spent.figures()["epsilon_public"] == often > hidden_epsilon(Releases(STEPS, BATCH / 24, 2.0), DELTA)


def test_shuffled_passes_count_the_uses_of_an_example() -> None:
    """24 examples are 3 batches of 8, or 2 with a joined one: three steps of a round use an example at most twice."""
    spent = account(noise=2.0, sampling="passes")
    for _ in range(ROUNDS):
        spent.charge([0, 1, 2])
    figures = spent.figures()
    assert figures["epsilon_public"] == figures["epsilon_main_server"] == seen_epsilon(Releases(4, 1.0, 2.0), DELTA)


def test_the_noise_is_found_from_the_budget() -> None:
    spent = account(epsilon=2.0)
    for _ in range(ROUNDS):
        spent.charge([0, 1, 2])
    assert 1.998 <= spent.figures()["epsilon_public"] <= 2.0
    with pytest.raises(TrainingError, match=r"within privacy\.epsilon=2, found that it is spent \(1\.99"):
        spent.charge([1])
    assert spent.rounds == [ROUNDS] * 3, "a round that is refused is not charged"


def test_a_budget_that_the_noise_does_not_keep_is_refused_before_the_first_round() -> None:
    with pytest.raises(ConfigError, match=r"within privacy\.epsilon=0\.5, found that 4 of a client spend"):
        account(epsilon=0.5, noise=2.0)


def test_delta_is_below_one_over_n_of_the_largest_client() -> None:
    with pytest.raises(ConfigError, match=r"expected privacy\.delta below 1/n = 0\.025 of the client with the most"):
        account(noise=2.0, delta=0.025)
    account(noise=2.0, delta=0.0249)


def test_a_missing_accountant_is_told_before_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'heron-sfl\[privacy\]'"):
        account(noise=2.0)
    assert account(noise=2.0, sampling="passes").figures()["epsilon_public"] == 0.0


def test_two_runs_differ_in_their_noise_alone() -> None:
    seeds = [Vault(Secret(bytes([number]) * 32)) for number in (1, 1, 2)]
    found = []
    for vault in seeds:
        parties = federation(vault=vault)
        parties.run_round()
        found.append(parties.fed_server.model["client.0.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    fresh = [federation(), federation()]
    for parties in fresh:
        parties.run_round()
    assert not torch.equal(*(parties.fed_server.model["client.0.weight"] for parties in fresh))


@pytest.mark.parametrize("update", ["dense", "scalars"])
def test_replies_tell_no_loss_and_no_number_of_examples(update: str) -> None:
    changes = {"update": update, "client": {"keep_state": update == "dense"}}
    parties = federation(**changes)
    replies = [message for message in messages_of(parties) if isinstance(message, Reply)]
    assert len(replies) == 3
    for reply in replies:
        assert math.isnan(float(reply.train_loss))
        assert (reply.num_examples, reply.num_steps) == (1, STEPS)
    if update == "scalars":
        assert all(isinstance(reply, ScalarReply) for reply in replies)
    assert parties.client_examples == 3 * STEPS * BATCH


def test_batches_are_of_the_secret_and_uploads_follow_them() -> None:
    parties = federation(vault=Vault(Secret(bytes(32))), privacy={"noise": 2.0})
    uploads = [message for message in messages_of(parties) if isinstance(message, Upload)]
    expected = [
        (client_id, step, len(chosen))
        for client_id, size in enumerate(SIZES)
        for step, chosen in enumerate(step_positions(parties.clients.terms, parties.vault, size, 0, client_id))
        if len(chosen)
    ]
    assert [(one.client_id, one.local_step, len(one.labels)) for one in uploads] == expected
    assert len({size for _, _, size in expected}) > 1, "Poisson batches have different sizes"


def test_a_step_whose_batch_is_empty_is_a_step() -> None:
    parties = federation(client={"batch_size": 1, "local_steps": 8}, rounds=1)
    replies = [message for message in messages_of(parties) if isinstance(message, Reply)]
    assert [reply.num_steps for reply in replies] == [8, 8, 8]


def test_passes_are_those_of_every_run() -> None:
    parties = federation(privacy={"sampling": "passes"})
    uploads = [message for message in messages_of(parties) if isinstance(message, Upload)]
    assert {len(one.labels) for one in uploads} == {BATCH}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"update": "scalars", "client": {"optimizer": "sgd"}, "seed_groups": 1},
        {"clients": {"dropout": 0.4, "stragglers": 0.4}, "client": {"keep_state": False}},
        {"estimator": {"scheme": "central"}, "wire": True, "update_codec": "int8"},
        {"link": {"uplink_mbps": 1.0, "bundle": True}},
        {"client": {"learning": "local_zeroth_order"}, "split": "deep"},
        {"name": "local", "split": "deep"},
    ],
    ids=["plain", "seed groups", "drop-out, no state kept", "central, coded", "bundles", "layer groups", "local"],
)
def test_a_run_continues_with_its_noise_and_its_account(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The round after a resumption has the bits of the round that would have been: no second release of it."""

    def run(folder: Path | None, vault: Vault | None = None) -> Run[Federation]:
        directory = None if folder is None else RunDirectory(folder)
        return Run(
            federation(vault=vault, **changes),
            Splits(examples(), *_nothing(), num_classes=3),
            rounds=ROUNDS,
            directory=directory,
        )

    first = run(tmp_path)
    first.rounds = 2
    first.train()
    secret = (tmp_path / "checkpoint" / "secret").read_bytes()[:32]
    assert (tmp_path / "checkpoint" / "secret").stat().st_mode & 0o077 == 0
    second = run(tmp_path)
    assert second.restore() == 2
    assert second.federation.servers.account.rounds == [2, 2, 2]
    rows = second.train()
    whole = run(None, Vault(Secret(secret)))
    expected = whole.train()
    volatile = {"elapsed_s"}
    assert [{k: v for k, v in row.items() if k not in volatile} for row in rows] == [
        {k: v for k, v in row.items() if k not in volatile} for row in expected
    ]
    for name, tensor in whole.federation.fed_server.global_model().items():
        assert torch.equal(tensor, second.federation.fed_server.global_model()[name]), name
    epsilons = [row["epsilon_public"] for row in rows]
    assert epsilons == sorted(epsilons)
    assert epsilons[0] > 0
    second.finish()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["epsilon_public"] == epsilons[-1]
    assert "no guarantee" in summary["privacy"]["does_not_cover"]
    assert secret.hex() not in (tmp_path / "checkpoint" / "state.safetensors").read_bytes().hex()


def _nothing() -> tuple[TensorDataset, TensorDataset]:
    empty = TensorDataset(torch.empty(0), torch.empty(0))
    return empty, empty


def test_a_run_whose_secret_is_gone_is_not_continued(tmp_path: Path) -> None:
    parties = federation()
    run = Run(parties, Splits(examples(), *_nothing(), num_classes=3), rounds=1, directory=RunDirectory(tmp_path))
    run.train()
    path = tmp_path / "checkpoint" / "secret"
    for content, found in ((None, "none"), (b"short", "a damaged one"), (bytes(32), "another one")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        again = Run(federation(), run.splits, rounds=2, directory=RunDirectory(tmp_path))
        with pytest.raises(CheckpointError, match=f"expected the secret that this run began with .*found {found}"):
            again.restore()
    assert load_checkpoint(tmp_path / "checkpoint" / "state.safetensors")[1]["privacy"] == {
        "client_rounds": [1, 1, 1],
        "noise": 2.0,
    }


def test_a_run_whose_budget_gives_another_noise_now_is_not_continued() -> None:
    """Another accountant found other noise: the same round with both would give away its sum without noise."""
    parties = federation()
    tensors, facts = parties.state()
    facts["privacy"] = facts["privacy"] | {"noise": 2.5}
    with pytest.raises(CheckpointError, match=r"the noise that this run began with, 2\.5, found 2 for its budget"):
        parties.load_state(tensors, facts)


@pytest.mark.slow
def test_python_trains_and_tells(tmp_path: Path) -> None:
    result = heron.train(
        split_model(),
        examples(),
        settings=PRIVATE,
        rounds=2,
        privacy={"epsilon": 3.0, "noise": "auto", "delta": DELTA},
        out=tmp_path,
    )
    assert 2.997 <= result.metrics[-1]["epsilon_public"] <= 3.0
    assert result.metrics[-1]["client_loss"] is None
    with pytest.raises(
        CheckpointError,
        match="expected rounds=2, with which the run there began, found 3, on which step sizes or noise",
    ):
        heron.train(
            split_model(),
            examples(),
            settings=PRIVATE,
            rounds=3,
            privacy={"epsilon": 3.0, "noise": "auto", "delta": DELTA},
            out=tmp_path,
        )


def mean_alone(outputs: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, labels)


class Augmented(Dataset):
    """Adds noise to an input whenever it is read."""

    def __len__(self) -> int:
        return sum(SIZES)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return examples().tensors[0][index] + torch.randn(1, 4, 4), index % 3


def test_what_an_example_draws_does_not_depend_on_the_others_of_its_batch() -> None:
    data = federation(data=Augmented()).clients.data(0)
    some = data.batch(np.array([1, 3, 4]), seed=2**64 - 1)
    fewer = data.batch(np.array([3, 4]), seed=2**64 - 1)
    assert torch.equal(some.inputs[1:], fewer.inputs)
    assert not torch.equal(some.inputs[:1], data.batch(np.array([1]), seed=0).inputs)


class Mixing(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - inputs.mean(0, keepdim=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"privacy": {"noise": "auto"}},
            r"expected a number for privacy\.epsilon or privacy\.noise next to privacy\.delta",
        ),
        ({"privacy": {"epsilon": 0}}, r"privacy\.epsilon: expected a finite number above 0 or 'off', found 0"),
        ({"privacy": {"noise": 0.0}}, r"privacy\.noise: expected a finite number above 0 or 'auto', found 0\.0"),
        ({"privacy": {"label_epsilon": 0}}, r"privacy\.label_epsilon: expected a finite number above 0 or 'off'"),
        ({"client": {"exact": 2}}, r"expected client\.exact of 0 or 1 with privacy, found 2"),
        (
            {"client": {"learning": "local_exact", "exact": 1}, "privacy": {"exact_clip": 0.5}},
            r"expected privacy\.exact_clip=1, or heron .* with privacy, found 0\.5: no head learns exactly by itself",
        ),
        (
            {"client": {"learning": "local_zeroth_order", "exact": 1}},
            r"expected client\.exact=0 with client\.learning=local_zeroth_order with privacy, found 1: gradients of",
        ),
        (
            {"client": {"learning": "local_zeroth_order", "exact": 2}},
            r"expected client\.exact=0 with client\.learning=local_zeroth_order with privacy, found 2: gradients of",
        ),
        ({"client": {"local_steps": 0}}, r"expected client\.local_steps of at least 1 with privacy"),
        ({"clients": {"weighting": "examples"}}, r"expected clients\.weighting=equal with privacy"),
        ({"server": {"refresh_auxiliary": True}}, r"expected server\.refresh_auxiliary=false with privacy"),
        ({"estimator": {"scheme": "jvp"}}, r"expected estimator\.scheme=one_sided or central with privacy"),
        ({"privacy": {"delta": 0.03}}, r"expected privacy\.delta below 1/n"),
        ({"privacy": {"epsilon": 0.1}}, r"expected rounds within privacy\.epsilon=0\.1"),
    ],
)
def test_settings_without_a_guarantee_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as refusal:
        federation(**changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value"), [("epsilon", -1.0), ("noise", -1.0), ("clip", 0.0), ("delta", 0.0), ("delta", 1.0)]
)
def test_values_out_of_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"privacy\.{key}: expected a .*number .*, found {value}"):
        Privacy(**{key: value})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fsl_sage", "fitted to smashed data"),
        ("sflv1", "what the Main Server makes of their smashed data"),
        ("ho_sfl", "what the Main Server makes of their smashed data"),
        ("hosl", "what the Main Server makes of their smashed data"),
        ("frozen", "learn nothing"),
    ],
)
def test_algorithms_without_a_guarantee_are_refused(name: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"expected privacy off with {name}, found privacy: .*{expected}.*heron"):
        federation(name)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (lambda: split_model(nn.BatchNorm2d(2)), "expected no BatchNorm on a client with privacy, found 'client.1'"),
        (
            lambda: split_model(nn.BatchNorm2d(2, track_running_stats=False)),
            "expected no BatchNorm on a client with privacy",
        ),
        (lambda: split_model(extra=nn.Dropout(0.5)), "expected no Dropout on a client with privacy, found 'client.3'"),
        (lambda: split_model(extra=Mixing()), "that treat every example by itself with privacy"),
    ],
    ids=["BatchNorm", "BatchNorm without statistics", "Dropout", "a layer that mixes"],
)
def test_networks_without_a_guarantee_are_refused(split: Any, expected: str) -> None:
    with pytest.raises(SplitError, match=expected):
        federation(split=split())


def test_statistics_of_the_servers_part_are_its_own_affair() -> None:
    split = split_model()
    split.server = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(32), nn.Linear(32, 3))
    parties = federation(split=split, client={"batch_size": 2, "local_steps": 6})
    uploads = [message for message in messages_of(parties, 2) if isinstance(message, Upload)]
    assert uploads
    assert min(len(one.labels) for one in uploads) >= 2


def test_a_criterion_without_single_losses_is_refused() -> None:
    with pytest.raises(HeronError, match="expected a criterion with a parameter reduction"):
        Federation(
            split_model(),
            ALGORITHMS["heron"],
            examples(),
            shares(),
            PRIVATE,
            mean_alone,
        )


def test_decomfl_spends_nothing_on_uploads() -> None:
    parties = federation("decomfl", client={"optimizer": "sgd", "keep_state": False})
    replies = [message for message in messages_of(parties, 2) if isinstance(message, Reply)]
    assert len(replies) == 6
    figures = parties.servers.account.figures()
    assert figures["epsilon_fed_server"] == figures["epsilon_public"] > 0
    assert "epsilon_main_server" not in figures


@pytest.mark.parametrize(
    ("name", "client", "clips"),
    [
        ("heron", {}, {"clip"}),
        ("heron", {"exact": 1}, {"clip", "exact_clip"}),
        ("cse_fsl", {"exact": 1}, {"clip"}),  # it has no such boundary
        ("decomfl", {"optimizer": "sgd"}, {"clip"}),
    ],
)
def test_the_statement_names_the_clips_that_count(name: str, client: dict[str, Any], clips: set[str]) -> None:
    changes = {"update": "scalars", "seed_groups": 1} if name == "decomfl" else {}
    said = federation(name, client=client, **changes).servers.account.statement()
    assert {key for key in said if key in ("clip", "exact_clip")} == clips
    assert said["noise_over_each_clip"] == pytest.approx(said["noise"] * len(clips) ** 0.5)


def test_the_statement_says_what_weakens_it() -> None:
    assert "limits" not in federation().servers.account.statement()
    parties = federation(client={"batch_size": 30}, privacy={"noise": 0.1})
    assert parties.servers.account.statement()["limits"] == [
        "Sampling hides nothing of a client with 24 examples: all are in every step, with client.batch_size=30."
    ]
    parties.run_round()
    (little, _) = parties.servers.account.statement()["limits"]
    assert little.startswith("An epsilon of ")
    passes = federation(client={"batch_size": 30}, privacy={"sampling": "passes"})
    assert "limits" not in passes.servers.account.statement()


def test_layer_groups_learn_under_noise_and_cost_the_same_epsilon() -> None:
    parties = federation(split="deep", client={"learning": "local_zeroth_order"})
    start = {name: tensor.clone() for name, tensor in parties.fed_server.global_model().items()}
    plain = federation()
    assert messages_of(parties)
    assert messages_of(plain)
    assert parties.servers.account.figures() == plain.servers.account.figures()
    assert parties.servers.account.statement() == plain.servers.account.statement()
    assert any(name.startswith("local_heads.") for name in start)
    moved = {name for name, tensor in parties.fed_server.global_model().items() if not torch.equal(tensor, start[name])}
    assert moved == start.keys()


@pytest.mark.slow
@pytest.mark.parametrize("exact", [0, 1])
def test_a_client_without_pytorch_releases_the_same(exact: int) -> None:
    """Same secret, same batches, same noise; losses differ by rounding, which a probe magnifies by 1 / mu."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    found = []
    for runtime in ("torch", "onnx"):
        vault = Vault(Secret(bytes(32)))
        client = {"runtime": runtime, "optimizer": "sgd", "exact": exact}
        parties = federation(vault=vault, split=split_model(nn.Identity()), client=client)
        parties.run_round()
        found.append(parties.fed_server.model["client.0.weight"])
    start = split_model(nn.Identity()).client[0].weight.detach()
    moved, apart = (float((found[0] - other).abs().max()) for other in (start, found[1]))
    assert apart < 1e-3 * moved


def test_a_vault_of_another_run_is_refused() -> None:
    vault = Vault()
    federation(vault=vault)
    with pytest.raises(ConfigError, match="expected a vault of its own for each run, found one that another run draws"):
        federation(vault=vault)


def test_a_run_killed_before_its_first_checkpoint_repeats_its_release_bit_for_bit(tmp_path: Path) -> None:
    """And a run with other settings in the same folder does not: the same noise would show how they differ."""

    def first_round(**changes: Any) -> dict[str, Tensor]:
        parties = federation(**changes)
        empty = Splits(examples(), *_nothing(), num_classes=3)
        Run(parties, empty, rounds=1, directory=RunDirectory(tmp_path), fingerprint=str(parties.settings))
        parties.run_round()  # and no checkpoint
        return parties.fed_server.global_model()

    first, again, other = first_round(), first_round(), first_round(client={"learning_rate": 2e-2})
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not any(torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_an_exact_head_learns_under_noise_and_costs_the_same_epsilon() -> None:
    plain, exact = federation(), federation(client={"exact": 1})
    found = [messages_of(one) and one.servers.account.figures() for one in (plain, exact)]
    assert found[0] == found[1]
    start = federation(client={"exact": 1}).fed_server.global_model()
    moved = {name for name, tensor in exact.fed_server.global_model().items() if not torch.equal(tensor, start[name])}
    assert moved == start.keys()
