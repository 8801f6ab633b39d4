"""What goes up and down with scalars: how much, when a log and when a snapshot, and what the server remembers."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heron.errors import MessageError, TrainingError
from heron.server.scalar_server import ScalarFedServer
from heron.split import SplitModel, linear_head
from heron.wire import ModelBroadcast, ScalarBroadcast, ScalarReply, encode, encoded_sizes
from heron.wire.groups import Probes
from heron.wire.learning import Learning
from tests.algorithms.scalar_runs import assert_same_bits, clients, dense, federation, record
from tests.conformance.test_algorithms import CLASSES
from tests.server.terms import terms_of
from tests.settings import changed

PROBES, STEPS = 2, 3


def server(d: int, weighting: str = "equal", probes: int = PROBES, **changes: Any) -> ScalarFedServer:
    """Theta of d float32 in one tensor, and one buffer that scalars do not tell."""
    chosen = clients(learning_rate=0.1, keep_state=True, estimator=Probes(1e-2, probes), digest_period=4, seed=5)
    model = {"theta": torch.arange(d, dtype=torch.float32), "mean": torch.zeros(2)}
    terms = terms_of(model, replayed=["theta"], seed=5, clients={"weighting": weighting})
    return ScalarFedServer(terms, model, Learning(changed(chosen, **changes)))


def reply(round_index: int, client_id: int, probes: int = PROBES, **changes: Any) -> ScalarReply:
    scalars = torch.linspace(-1, 1, STEPS * probes) * (1 + client_id)
    rest = {"mean": torch.full((2,), 1.0 + round_index)}
    return dataclasses.replace(
        ScalarReply(round_index, client_id, 10, STEPS, torch.tensor(0.5), scalars, rest), **changes
    )


def round_of(parties: ScalarFedServer, round_index: int, client_ids: list[int], probes: int = PROBES) -> None:
    for client_id in client_ids:
        parties.broadcast(round_index, client_id)
        parties.accept(reply(round_index, client_id, probes))
    parties.average()


@pytest.mark.parametrize(("probes", "steps"), [(1, 1), (1, 3), (4, 3), (16, 40)])
def test_a_reply_is_four_bytes_a_probe_and_a_constant(probes: int, steps: int) -> None:
    """Networks of 44 and of 164,804 parameters, without buffers and exact layers."""
    sizes = []
    for channels in (1, 256):
        torch.manual_seed(0)
        client = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.Tanh())
        rest = nn.Sequential(nn.Flatten(), nn.Linear(16 * channels, CLASSES))
        split = SplitModel(client, rest, linear_head((channels, 4, 4), CLASSES))
        settings = clients(estimator=Probes(1e-2, probes))
        parties = federation(settings, split=lambda split=split: split, local_steps=steps, schedule=[[0]])
        messages = record(parties)
        parties.run_round()
        (found,) = (message for message in messages if isinstance(message, ScalarReply))
        sizes.append(sum(encoded_sizes(found).values()))
        assert sizes[-1] == len(encode(found)) <= 4 * steps * probes + 512
    assert sizes[0] == sizes[1]


def log_by_hand(held: int, round_index: int, client_ids: list[int], model: dict[str, Tensor]) -> ScalarBroadcast:
    rows, scalars = [], []
    for index in range(held, round_index):
        for client_id in client_ids:
            rows.append([index, client_id, 1, STEPS * PROBES])
            scalars.append(reply(index, client_id).projected_gradients)
    entries = torch.tensor(rows, dtype=torch.int32)
    return ScalarBroadcast(round_index, 0, held, 0, entries, torch.cat(scalars), model)


def test_the_smaller_encoded_message_is_sent() -> None:
    """One client misses rounds: log until it is no smaller than the snapshot, snapshots from there on."""
    sent = []
    parties = server(200)  # 800 bytes of theta; a round of two walks is 2 (16 + 24) = 80
    round_of(parties, 0, [0, 1, 2])
    for round_index in range(1, 16):
        message = parties.broadcast(round_index, 0)
        snapshot = ModelBroadcast(round_index, 0, parties.global_model())
        # Round 0 has the walks of three clients, the others of two.
        log = log_by_hand(0, round_index, [1, 2], parties.model)
        first = log_by_hand(0, 1, [0, 1, 2], parties.model)
        entries = torch.cat((first.entries, log.entries[2:]))
        scalars = torch.cat((first.scalars, log.scalars[2 * STEPS * PROBES :]))
        log = dataclasses.replace(log, entries=entries, scalars=scalars)
        smaller = log if len(encode(log)) < len(encode(snapshot)) else snapshot
        assert type(message) is type(smaller), round_index
        if isinstance(message, ScalarBroadcast):
            assert encode(dataclasses.replace(message, digest=0)) == encode(log)
        else:
            assert encode(message) == encode(snapshot)
        sent.append(type(message) is ScalarBroadcast)
        round_of(parties, round_index, [1, 2])
    assert sent == sorted(sent, reverse=True), "it flips once"
    # 40 bytes more for the walk of client 0, and the header of the log is longer: 800 - 40 - header > 80 t.
    assert 5 <= sum(sent) <= 9


@pytest.mark.parametrize("d", range(12, 44))
def test_the_break_even_is_exact_to_the_byte(d: int) -> None:
    parties = server(d)
    round_of(parties, 0, [0])
    message = parties.broadcast(1, 0)
    log = log_by_hand(0, 1, [0], parties.model)
    snapshot = ModelBroadcast(1, 0, parties.global_model())
    assert isinstance(message, ScalarBroadcast) == (len(encode(log)) < len(encode(snapshot)))


def test_both_sides_of_the_break_even_were_there() -> None:
    found = []
    for d in (12, 43):
        parties = server(d)
        round_of(parties, 0, [0])
        found.append(type(parties.broadcast(1, 0)))
    assert found == [ModelBroadcast, ScalarBroadcast]


def log_bytes(parties: ScalarFedServer) -> int:
    state = parties.state()["walk_log"]
    return state["entries"].nbytes + state["scalars"].nbytes


def test_the_log_is_pruned_to_the_size_of_theta() -> None:
    parties = server(100)  # 400 bytes: ten walks of 40
    round_of(parties, 0, [0, 1])
    sizes = []
    for round_index in range(1, 30):
        round_of(parties, round_index, [1])
        sizes.append(log_bytes(parties))
    # Client 0 stays away: rounds pile up for it, as many as are no larger than theta; the first, of 80, goes first.
    assert sizes == [min(80 + 40 * (index + 1), 400) for index in range(8)] + [360] + [400] * 20
    assert parties.state()["walk_log"]["entries"][0].tolist() == [20, 1, 1, 6]
    assert isinstance(parties.broadcast(30, 0), ModelBroadcast)


def test_rounds_that_nobody_needs_are_not_kept() -> None:
    parties = server(10_000)
    for round_index in range(20):
        round_of(parties, round_index, [0, 1, 2])
        assert log_bytes(parties) == 3 * 40, "everybody was there: the last round is all that anybody misses"
    for round_index in range(20, 25):
        round_of(parties, round_index, [])
    assert log_bytes(parties) == 3 * 40, "rounds without a reply take no room"
    assert len(parties._log._rounds) == 1


def test_a_log_larger_than_theta_alone_is_not_kept() -> None:
    parties = server(5)
    round_of(parties, 0, [0])
    assert log_bytes(parties) == 0
    assert isinstance(parties.broadcast(1, 0), ModelBroadcast)


def test_what_was_pruned_is_never_left_out_of_a_log() -> None:
    """A round larger than theta empties the log: short as it is then, it leads nobody anywhere."""
    parties, restored = server(100), server(100)
    round_of(parties, 0, [0, 1])
    round_of(parties, 1, list(range(1, 12)))  # eleven walks of 40 bytes
    assert log_bytes(parties) == 0
    restored.load_state(parties.state())
    for each in (parties, restored):
        assert isinstance(each.broadcast(2, 0), ModelBroadcast), "it misses both rounds"
        assert isinstance(each.broadcast(2, 1), ModelBroadcast), "it misses the second"
        round_of(each, 2, [0])
        assert isinstance(each.broadcast(3, 0), ScalarBroadcast)
        assert isinstance(each.broadcast(3, 1), ModelBroadcast)


def test_a_restored_server_sends_the_same() -> None:
    parties, other = server(400), server(400)
    for round_index, client_ids in enumerate([[0, 1, 2], [1], [], [2], [1]]):
        round_of(parties, round_index, client_ids)
    other.load_state(parties.state())
    for client_id in range(4):
        assert encode(other.broadcast(5, client_id)) == encode(parties.broadcast(5, client_id))
    round_of(parties, 5, [0, 2])
    round_of(other, 5, [0, 2])
    assert_same_bits(other.theta, parties.theta)
    assert [encode(other.broadcast(8, each)) for each in range(3)] == [
        encode(parties.broadcast(8, each)) for each in range(3)
    ]


def test_a_digest_goes_every_few_rounds_and_follows_theta() -> None:
    parties = server(400)
    digests = []
    for round_index in range(9):
        message = parties.broadcast(round_index, 0)
        digests.append(message.digest if isinstance(message, ScalarBroadcast) else None)
        round_of(parties, round_index, [0])
    assert [bool(digest) for digest in digests] == [False, False, False, False, True, False, False, False, True]
    assert digests[4] != digests[8]
    early, later = server(400).state(), parties.state()
    message = parties.broadcast(12, 0)
    parties.load_state(early | {"walk_log": later["walk_log"]})
    assert parties.broadcast(12, 0).digest != message.digest, "of the theta that was loaded"


def test_the_downlink_of_a_run_is_smaller_than_that_of_its_dense_twin() -> None:
    parties, twin = federation(clients()), federation(dense(clients()))
    for _ in range(3):
        parties.run_round()
        twin.run_round()
    assert parties.ledger.downlink_bytes < 0.6 * twin.ledger.downlink_bytes
    assert parties.ledger.by_kind("uplink")["model"] < 0.1 * twin.ledger.by_kind("uplink")["model"]


BAD = [
    ({"projected_gradients": torch.ones(5)}, MessageError, r"client 1 in round 2: expected .* shape \(6,\)"),
    ({"projected_gradients": torch.ones(2, 3)}, MessageError, r"found float32 \(2, 3\)"),
    ({"projected_gradients": torch.ones(6).double()}, MessageError, "found float64"),
    ({"projected_gradients": torch.ones(6).int()}, MessageError, "found int32"),
    ({"num_steps": 2**62}, MessageError, "client 1 in round 2: expected projected gradients"),
    ({"num_examples": 0}, MessageError, "expected 1 to 2147483647 examples, found 0"),
    ({"num_examples": 2**31}, MessageError, "found 2147483648"),
    ({"projected_gradients": torch.tensor([1.0, torch.nan] * 3)}, TrainingError, "NaN or infinity from client 1"),
    ({"projected_gradients": torch.tensor([1.0, torch.inf] * 3)}, TrainingError, "NaN or infinity from client 1"),
    ({"train_loss": torch.tensor(torch.inf)}, TrainingError, "client 1 in round 2"),
    ({"model": {}}, MessageError, "'mean' should be"),
    ({"model": {"mean": torch.zeros(3)}}, MessageError, "'mean' should be"),
    ({"model": {"mean": torch.zeros(2), "theta": torch.zeros(100)}}, MessageError, "'theta' should be"),
    ({"model": {"mean": torch.tensor([0.0, torch.nan])}}, TrainingError, "client 1 in round 2"),
]


@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize(("changes", "error", "text"), BAD, ids=lambda value: str(value)[:40])
def test_a_malformed_reply_is_refused_and_leaves_no_trace(changes, error, text: str, weighting: str) -> None:
    parties, clean = server(100, weighting), server(100, weighting)
    for each in (parties, clean):
        round_of(each, 0, [0])
        each.broadcast(1, 0)
        each.accept(reply(1, 0))
        if each is parties:
            with pytest.raises(error, match=text) as caught:
                each.accept(reply(1, 1, **changes))
            assert "\n" not in str(caught.value)
        assert each.average() == (0.5, 1)
    for name, group in clean.state().items():
        assert_same_bits(parties.state()[name], group)


def test_scalars_that_blow_up_are_told() -> None:
    parties = server(100, learning_rate=1e3)
    parties.broadcast(0, 0)
    parties.accept(reply(0, 0, projected_gradients=torch.full((6,), 3e38)))
    with pytest.raises(TrainingError, match=r"expected a finite global model, .* lower client\.learning_rate"):
        parties.average()


@pytest.mark.parametrize("weighting", ["equal", "examples"])
def test_the_largest_number_of_examples_travels(weighting: str) -> None:
    parties = server(100, weighting)
    parties.accept(reply(0, 0, num_examples=2**31 - 1))
    parties.average()
    message = parties.broadcast(1, 0)
    assert isinstance(message, ScalarBroadcast)
    assert message.entries.tolist() == [[0, 0, 1 if weighting == "equal" else 2**31 - 1, 6]]
