"""A federation whose replies are under masks: the model is that of the plain fixed-point sums, nothing else is told."""

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.arrays import to_host
from heron.client.attendance import Attendance
from heron.client.masks import Masks
from heron.data import Splits
from heron.engines.in_process import Federation
from heron.errors import ConfigError, MessageError, MissingExtraError, SplitError, TrainingError
from heron.privacy import Secret
from heron.privacy.vault import Vault
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from heron.split import SplitModel, linear_head
from heron.wire import Message, ModelBroadcast, Reply, ScalarBroadcast, ScalarReply
from heron.wire.groups import Client, Clients, Probes, Settings
from heron.wire.mask_messages import KeyRequest, Unmasked, Unmasking
from heron.wire.walks import Walk, schedule_of
from tests.settings import changed

SIZES = (12, 20, 16, 9, 24, 17, 13)
PROBES, STEPS = 2, 3
MASKED = Settings(
    rounds=3,
    threads=1,
    update="scalars",
    seed_groups=1,
    secure_sum=True,
    clients=Clients(total=len(SIZES)),
    client=Client(batch_size=8, local_steps=STEPS, learning_rate=0.05, optimizer="sgd", keep_state=False),
    estimator=Probes(probes=PROBES),
)


def split_model(norm: nn.Module | None = None) -> SplitModel:
    torch.manual_seed(0)
    client = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), norm or nn.GroupNorm(1, 2), nn.ReLU())
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), linear_head((2, 4, 4), 3))


def examples(scale: float = 1.0) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(sum(SIZES)) % 3
    inputs = labels.view(-1, 1, 1, 1) + torch.randn(sum(SIZES), 1, 4, 4, generator=generator)
    return TensorDataset(scale * inputs, labels)


def federation(
    name: str = "heron",
    *,
    split: SplitModel | None = None,
    vault: Vault | None = None,
    scale: float = 1.0,
    **changes: Any,
) -> Federation:
    shares = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])
    settings = changed(MASKED, **changes)
    return Federation(split or split_model(), ALGORITHMS[name], examples(scale), shares, settings, vault=vault)


def heard(parties: Federation) -> list[Message]:
    messages: list[Message] = []
    parties.listeners.append(lambda message, _: messages.append(message))
    return messages


def told_replies(parties: Federation, monkeypatch: pytest.MonkeyPatch) -> list[ScalarReply]:
    """Replies as they were before masks; keys and masks are those of the program."""
    replies: list[ScalarReply] = []
    covered = Masks.covered

    def watched(self: Masks, reply: Reply) -> ScalarReply:
        assert isinstance(reply, ScalarReply)
        model = {name: torch.as_tensor(array).clone() for name, array in reply.model.items()}
        replies.append(replace(reply, projected_gradients=to_host(reply.projected_gradients).copy(), model=model))
        return covered(self, reply)

    monkeypatch.setattr(Masks, "covered", watched)
    return replies


def fixed(value: float) -> int:
    return round(value * 2**32)  # Python rounds ties to even


def plain_walks(parties: Federation, replies: list[ScalarReply]) -> list[Walk]:
    """Sums of the fixed-point values in Python's integers, group by group."""
    groups = parties.settings.seed_groups
    is_equal = parties.settings.clients.weighting == "equal"
    weights = {reply.client_id: 1 if is_equal else reply.num_examples for reply in replies}
    sums: dict[int, list[int]] = {}
    for reply in replies:
        held = sums.setdefault(schedule_of(reply.client_id, groups), [0] * (PROBES * STEPS))
        for place, value in enumerate(reply.projected_gradients.tolist()):
            held[place] += fixed(value * weights[reply.client_id])
    total = sum(weights.values())
    return [
        Walk(group, 1, (np.array(values, np.float64) / 2**32 / total).astype(np.float32))
        for group, values in sums.items()
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"wire": True, "seed_groups": 2},
        {"clients": {"weighting": "examples"}, "wire": True},
        {"clients": {"dropout": 0.3, "stragglers": 0.3}, "seed": 5, "wire": True},
        pytest.param({"exact": 1, "wire": True, "clients": {"dropout": 0.2}, "seed": 5}, marks=pytest.mark.slow),
        pytest.param({"link": {"bundle": True}, "seed_groups": 2}, marks=pytest.mark.slow),
    ],
    ids=["plain", "two groups", "weights", "dropouts and stragglers", "exact head", "bundles"],
)
def test_the_model_is_that_of_the_plain_fixed_point_sums(changes, monkeypatch) -> None:
    parties = federation(**changes)
    replies = told_replies(parties, monkeypatch)
    done = []
    advance = parties.fed_server._replayer.advance
    monkeypatch.setattr(
        parties.fed_server._replayer, "advance", lambda theta, one: done.append(one) or advance(theta, one)
    )
    for _ in range(3):
        replies.clear()
        result = parties.run_round()
        assert result.num_replies == len(replies) >= 3
        expected = plain_walks(parties, replies)
        (found,) = done
        assert [walk.schedule for walk in found.walks] == [walk.schedule for walk in expected]
        for mine, theirs in zip(found.walks, expected, strict=True):
            assert np.array_equal(mine.scalars_P, theirs.scalars_P)
        losses = [float(reply.train_loss) for reply in replies]
        assert result.client_loss == pytest.approx(sum(losses) / len(losses), abs=1e-6)
        for name in parties.fed_server.model:
            mean = torch.stack([reply.model[name].double() for reply in replies]).mean(0)
            assert torch.allclose(parties.fed_server.model[name].double(), mean, atol=1e-6)
        done.clear()


def test_it_is_the_model_without_masks_but_for_rounding() -> None:
    masked, plain = federation(), federation(secure_sum=False)
    for _ in range(2):
        assert masked.run_round().client_loss == pytest.approx(plain.run_round().client_loss, abs=1e-5)
    for name, tensor in plain.fed_server.global_model().items():
        assert torch.allclose(masked.fed_server.global_model()[name], tensor, atol=1e-5)


def test_a_reply_tells_neither_loss_nor_number_of_examples_nor_scalars(monkeypatch) -> None:
    parties = federation(clients={"weighting": "examples"}, wire=True)
    before, messages = told_replies(parties, monkeypatch), heard(parties)
    parties.run_round()
    replies = [message for message in messages if isinstance(message, ScalarReply)]
    assert len(replies) == len(SIZES)
    for reply, told in zip(replies, before, strict=True):
        assert reply.num_examples == 1
        assert math.isnan(float(reply.train_loss))
        assert reply.projected_gradients.dtype == np.int64
        assert reply.model.keys() == {"masks.sealed", "masks.marks"}
        content = reply.projected_gradients.tobytes()
        assert all(np.int64(fixed(value)).tobytes() not in content for value in told.projected_gradients.tolist())
    kinds = [type(message) for message in messages]
    assert kinds.count(KeyRequest) == kinds.count(Unmasking) == kinds.count(Unmasked) == len(SIZES)
    ledger = parties.ledger.by_kind("uplink")
    assert ledger["masks"] > 0
    messages.clear()
    parties.run_round()
    assert KeyRequest not in map(type, messages)  # keys are those of the run


@pytest.mark.filterwarnings("ignore:round")
def test_a_run_continues_bit_for_bit(tmp_path: Path) -> None:
    def run(directory: RunDirectory | None, rounds: int) -> Run:
        empty = TensorDataset(torch.empty(0), torch.empty(0))
        parties = federation(vault=Vault(Secret(bytes(32))), wire=True, clients={"dropout": 0.3})
        return Run(parties, Splits(examples(), empty, empty, num_classes=3), rounds=rounds, directory=directory)

    run(RunDirectory(tmp_path), 2).train()
    second = run(RunDirectory(tmp_path), 4)
    assert second.restore() == 2
    rows, whole = second.train(), run(None, 4)
    expected = whole.train()
    for mine, theirs in zip(rows, expected, strict=True):
        assert {**mine, "elapsed_s": 0} == {**theirs, "elapsed_s": 0}
    for name, tensor in whole.federation.fed_server.global_model().items():
        assert torch.equal(second.federation.fed_server.global_model()[name], tensor)


def test_a_round_of_too_few_survivors_ends_without_an_update_and_the_run_goes_on() -> None:
    """Of few clients one alone replies: its sum would be its own values."""
    parties = federation(clients={"dropout": 0.75}, seed=3, seed_groups=1, rounds=12)
    lost = 0
    for _ in range(8):
        before = {name: tensor.clone() for name, tensor in parties.fed_server.theta.items()}
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            result = parties.run_round()
        assert [str(one.message).startswith(f"round {result.round_index + 1}: no update") for one in told] == (
            [True] if result.faults else []
        )
        if result.faults:
            lost += 1
            assert result.faults == {"secure_sum": 1}
            assert result.num_replies == 0
            assert math.isnan(result.client_loss)
            assert all(torch.equal(parties.fed_server.theta[name], tensor) for name, tensor in before.items())
    assert 0 < lost < 8


def test_a_lost_answer_ends_the_round_by_name() -> None:
    parties = federation()
    parties.clients.fate = lambda *place: Attendance(0, replies=False) if place[:2] == (0, 4) else Attendance()
    ask = parties.ask
    parties.ask = lambda requests: ask(
        [one for one in requests if not (isinstance(one, Unmasking) and one.client_id == 1)]
    )
    with pytest.warns(UserWarning, match=r"round 1: no update: expected client 1 to tell the mask"):
        result = parties.run_round()
    assert result.faults == {"secure_sum": 1}
    parties.ask = ask
    assert not parties.run_round().faults


def test_a_wrong_public_key_ends_the_round_by_name() -> None:
    parties = federation()
    parties.run_round()
    keys = parties.fed_server.seats.keys
    keys[2] = keys[3]
    with pytest.warns(UserWarning, match="clients 0 and 2 to have the same mask, found two"):
        parties.run_round()


def test_with_noise_no_loss_is_told() -> None:
    pytest.importorskip("dp_accounting")
    parties = federation(privacy={"noise": 2.0, "delta": 1e-3}, wire=True)
    result = parties.run_round()
    assert result.num_replies == len(SIZES)
    assert math.isnan(result.client_loss)
    assert parties.servers.account.figures()["epsilon_public"] > 0


def test_decomfl_adds_up_under_masks() -> None:
    masked, plain = federation("decomfl", wire=True), federation("decomfl", secure_sum=False)
    masked.run_round()
    plain.run_round()
    for name, tensor in plain.fed_server.global_model().items():
        assert torch.allclose(masked.fed_server.global_model()[name], tensor, atol=1e-5)


@pytest.mark.parametrize("is_masked", [True, False])
def test_the_server_may_take_steps_of_adam_along_the_summed_scalars(is_masked: bool) -> None:
    """As with models that are sent: the mean of what clients became is the sum's step."""
    adam = {"optimizer": "adam", "learning_rate": 0.01}
    parties, dense = (
        federation(fed_server=adam, secure_sum=is_masked),
        federation(fed_server=adam, secure_sum=False, update="dense"),
    )
    messages = heard(parties)
    for _ in range(3):
        parties.run_round()
        dense.run_round()
    start = federation().fed_server.global_model()
    for name, tensor in dense.fed_server.global_model().items():
        assert torch.allclose(parties.fed_server.global_model()[name], tensor, atol=2e-4)
        assert not torch.allclose(start[name], tensor, atol=5e-3)
    assert {type(one) for one in messages if isinstance(one, ModelBroadcast | ScalarBroadcast)} == {ModelBroadcast}
    again = federation(fed_server=adam, secure_sum=is_masked, vault=Vault(Secret(bytes(32))))
    again.load_state(*_state(parties, again))
    parties.run_round()
    again.run_round()
    for name, tensor in parties.fed_server.global_model().items():
        assert torch.allclose(again.fed_server.global_model()[name], tensor, atol=1e-6)


def _state(parties: Federation, other: Federation) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The state of one federation for another one with a secret of its own, which has its own keys."""
    tensors, facts = parties.state()
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("mask_keys")}
    return kept, facts | ({} if other.vault is None else {"secret": other.vault.sync()})


def test_values_beyond_a_sum_are_refused_on_the_client() -> None:
    with pytest.raises(TrainingError, match="to be added up under masks, found"):
        federation(split=split_model(nn.Identity()), scale=1e12).run_round()


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("heron", {"update": "dense"}, r"expected update=scalars with secure_sum, found dense"),
        ("heron", {"seed_groups": 0}, r"expected seed_groups of at least 1 with secure_sum, found 0"),
        ("heron", {"seed_groups": 3}, r"at least 3 clients of a seed group in a round .*found 2 of group 1 in round 1"),
        (
            "heron",
            {"clients": {"per_round": 2}},
            r"at least 3 clients of a seed group in a round with secure_sum, found 2",
        ),
        ("heron", {"update_codec": "int8"}, r"expected update_codec=fp32 with secure_sum, found int8"),
        ("heron", {"local_steps": 0}, r"expected client\.local_steps of at least 1 with secure_sum, found 0"),
        (
            "heron",
            {"fed_server": {"aggregation": "median"}},
            r"fed_server\.aggregation=mean with secure_sum.*robust mean",
        ),
        ("heron", {"fed_server": {"max_scalar": 1.0}}, r"expected fed_server\.max_scalar=0 with secure_sum, found 1"),
        ("heron", {"fed_server": {"max_norm": 1.0}}, r"expected fed_server\.max_norm=0 with secure_sum, found 1"),
        ("fedkseed", {}, r"expected secure_sum=false with fedkseed, found true: its replies are no walks"),
        ("hosl", {}, r"expected secure_sum=false with hosl, found true: its clients wait for answers"),
        ("cse_fsl", {}, r"expected secure_sum=false with cse_fsl, found true: its replies are no walks"),
    ],
)
def test_settings_without_sums_are_refused(name: str, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as refusal:
        federation(name, **changes)
    assert "\n" not in str(refusal.value)


def test_counters_next_to_the_scalars_are_refused() -> None:
    with pytest.raises(
        SplitError, match=r"floating type next to the scalars with secure_sum, found '.*num_batches_tracked'"
    ):
        federation(split=split_model(nn.BatchNorm2d(2)))


def test_a_missing_library_is_told(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"library 'cryptography'.*heron-sfl\[privacy\]"):
        federation()


def test_messages_of_other_rounds_and_strangers_are_refused() -> None:
    parties = federation()
    parties.run_round()
    masks, server = parties.clients.masks, parties.fed_server
    with pytest.raises(MessageError, match="client 0 in round 8: expected to be asked about masks of a round"):
        masks.keeper.answer(Unmasking(7, 0, np.zeros(6, bool), np.zeros((6, 48), np.uint8)))
    with pytest.raises(MessageError, match="expected bytes of shape"):
        masks.keeper.answer(Unmasking(0, 0, np.zeros(6, bool), np.zeros((6, 47), np.uint8)))
    with pytest.raises(MessageError, match="expected whether each reply has arrived"):
        masks.keeper.answer(Unmasking(0, 0, np.zeros(6), np.zeros((6, 48), np.uint8)))
    with pytest.raises(MessageError, match="expected the clients that it has masks with, found none"):
        masks.opened(replace(server.snapshot(1, 0), model={}))
    nothing = ScalarReply(1, 0, 1, STEPS, np.float32(0), np.zeros(6, np.float32), {})
    with pytest.raises(MessageError, match="expected sums under masks, found something else"):
        server.check(nothing)
    empty = {"masks.sealed": np.zeros((6, 48), np.uint8), "masks.marks": np.zeros((13, 16), np.uint8)}
    with pytest.raises(MessageError, match="expected 8 values under masks as int64, found float32"):
        server.check(replace(nothing, model=empty))
    with pytest.raises(MessageError, match="expected one of a participant"):
        server.check(replace(nothing, client_id=99))
