"""Model tensors in few bytes: what comes back, how far off, how the servers' own values stay whole, what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.algorithms import ALGORITHMS
from heron.engines.in_process import Federation
from heron.errors import MessageError, TrainingError
from heron.wire import ClientReply, ScalarReply
from heron.wire.groups import Client, Settings
from heron.wire.update_codec import UpdateCodec
from tests.conformance.test_algorithms import examples, partition, split_model
from tests.settings import changed

CODECS = ("fp16", "int8", "int4", "dither6")
LEVELS = {"int8": 255, "int4": 15, "dither6": 5}


def model(seed: int = 0, sizes: tuple[int, ...] = (3, 200, 1)) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {f"layer{index}.weight": torch.randn(size, 2, generator=generator) for index, size in enumerate(sizes)}
    return tensors | {"norm.num_batches_tracked": torch.tensor(7 + seed)}


def federation(name: str = "heron", codec: str = "int8", **changes) -> Federation:
    client = Client(batch_size=8, optimizer="sgd", learning_rate=1e-2, keep_state=False)
    values = changed(Settings(client=client, update_codec=codec), **changes)
    return Federation(split_model(), ALGORITHMS[name], examples(), partition(), values)


@pytest.mark.parametrize("codec", CODECS)
def test_values_go_down_in_float16_and_counters_as_they_are(codec: str) -> None:
    sent = model()
    coder = UpdateCodec(codec, sent, {})
    received = coder.unpack_model(coder.pack_model(sent))
    assert received.keys() == sent.keys()
    for name, tensor in sent.items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert np.array_equal(received[name], expected), name


@settings(max_examples=60, deadline=None)
@given(
    codec=st.sampled_from(CODECS),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4).map(tuple),
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 50.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_changes_come_back_within_a_step_of_their_block(codec: str, sizes, scale: float, seed: int) -> None:
    """Quantised: less than a step, which is at most the range of all changes through the levels, zero (padding)
    included. float16: half a unit in the last place of 11 bits, or of the smallest number. Float32 rounds the sums."""
    start, end = model(1, sizes), model(2, sizes)
    end = {name: start[name] + scale * value if value.is_floating_point() else value for name, value in end.items()}
    coder = UpdateCodec(codec, start, {})
    found = coder.unpack_update(coder.pack_update(end, start, seed), start)
    assert found.keys() == end.keys()
    floats = [name for name in end if end[name].is_floating_point()]
    changes = torch.cat([(end[name] - start[name]).view(-1) for name in floats] + [torch.zeros(1)])
    for name in floats:
        change = end[name] - start[name]
        if codec == "fp16":
            allowed = change.abs() * 2.0**-11 + 2.0**-25
        else:
            allowed = (changes.max() - changes.min()) / LEVELS[codec] * (1 + 1e-5)
        assert bool(((found[name] - end[name]).abs() <= allowed + 1e-6 * end[name].abs()).all()), name
    assert torch.equal(found["norm.num_batches_tracked"], end["norm.num_batches_tracked"])


@pytest.mark.parametrize("codec", ["int8", "int4", "dither6"])
def test_a_mean_of_quantised_changes_is_unbiased(codec: str) -> None:
    """Four standard errors; a rounding has a variance of at most step^2 / 4."""
    start, end, draws = model(1), model(2), 2_000
    coder = UpdateCodec(codec, start, {})
    name = "layer1.weight"
    total = torch.zeros(400, dtype=torch.float64)
    for seed in range(draws):
        total += (coder.unpack_update(coder.pack_update(end, start, seed), start)[name] - end[name]).view(-1).double()
    changes = (end[name] - start[name]).abs().max()
    step = float(2 * 1.2 * changes) / LEVELS[codec]
    worst = float((total / draws).abs().max())
    assert worst <= 4.5 * step / 2 / draws**0.5 + 1e-6  # 400 values: the largest of them is beyond four at times


@pytest.mark.parametrize("codec", CODECS)
def test_the_server_keeps_what_float16_takes_from_a_broadcast(codec: str) -> None:
    """Clients that change nothing leave the server's float32 values as they are, bit for bit."""
    parties = federation("cse_fsl", codec)
    before = {name: tensor.clone() for name, tensor in parties.fed_server.model.items()}
    coder = parties.clients.resident.update_codec
    received = coder.unpack_model(parties.fed_server.broadcast(0, 0).model)
    assert any(not np.array_equal(received[name], before[name]) for name in before)
    for client in range(2):
        packed = coder.pack_update({name: received[name] for name in before}, received, client)
        parties.fed_server.accept(ClientReply(0, client, 5, 1, torch.tensor(1.0), packed))
    parties.fed_server.average()
    assert all(torch.equal(parties.fed_server.model[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("name", list(ALGORITHMS))
@pytest.mark.parametrize("codec", CODECS)
def test_every_algorithm_trains_the_same_by_reference_and_over_a_wire(name: str, codec: str) -> None:
    runs = [federation(name, codec, wire=wire) for wire in (False, True)]
    for parties in runs:
        for _ in range(2):
            parties.run_round()
    reference, wire = (parties.state()[0] for parties in runs)
    assert all(torch.equal(wire[key], tensor) for key, tensor in reference.items())
    assert runs[0].ledger.to_dict() == runs[1].ledger.to_dict()


def test_scalars_are_not_touched() -> None:
    """With everything else exact in float16 - there is nothing else - scalars give dense parameters bit for bit."""
    plain, coded = federation(codec="fp32", update="scalars"), federation(update="scalars")
    theta = [{name: tensor.clone() for name, tensor in parties.fed_server.theta.items()} for parties in (plain, coded)]
    for parties in (plain, coded):
        parties.run_round()
    assert theta[0].keys() == theta[1].keys()
    # The first round starts from the same theta; only BatchNorm's statistics differ, which training does not read.
    assert all(torch.equal(plain.fed_server.theta[name], coded.fed_server.theta[name]) for name in theta[0])
    assert coded.ledger.by_kind("uplink")["scalars"] == plain.ledger.by_kind("uplink")["scalars"]


def test_bytes_are_those_of_the_codes() -> None:
    """int8 up: a byte a value, padded to blocks of 128, and two float32 for each block; float16 down."""
    sent = {"weight": torch.randn(10, 30), "bias": torch.randn(7)}
    coder = UpdateCodec("int8", sent, {"fixed": torch.randn(5)})
    up = coder.pack_update(sent, sent, 0)
    assert {name: tensor.nbytes for name, tensor in up.items()} == {
        "packed/int8": 384,  # 307 values
        "packed/scales": 3 * 8,
        "packed/shape": 16,
    }
    down = coder.pack_model(sent | {"fixed": torch.randn(5)})
    assert {name: tensor.nbytes for name, tensor in down.items()} == {"packed/fp16": 624, "packed/shape": 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "expected packed model tensors, found none"),
        (
            {"packed/shape": torch.tensor([4], dtype=torch.int32), "packed/fp16": torch.zeros(8, dtype=torch.uint8)},
            "408",
        ),
        ({"packed/shape": torch.tensor([2**27], dtype=torch.int32)}, "at most"),
        ({"packed/shape": torch.tensor([-1], dtype=torch.int32)}, "at most"),
    ],
)
def test_a_damaged_update_is_refused_and_leaves_no_trace(changes: dict[str, torch.Tensor], message: str) -> None:
    sent = model()
    coder = UpdateCodec("fp16", sent, {})
    packed = coder.pack_update(sent, model(3), 0)
    damaged = (packed | changes) if changes else {"norm.num_batches_tracked": torch.tensor(1)}
    with pytest.raises(MessageError, match=message):
        coder.unpack_update(damaged, sent)


def test_a_change_that_is_not_finite_is_refused_on_the_client() -> None:
    sent = model()
    broken = sent | {"layer1.weight": torch.full((200, 2), torch.nan)}
    with pytest.raises(TrainingError, match="finite"):
        UpdateCodec("int8", sent, {}).pack_update(broken, sent, 0)


def test_a_reply_of_another_codec_is_refused() -> None:
    server = federation("cse_fsl").fed_server
    whole = {name: tensor.clone() for name, tensor in server.model.items()}
    with pytest.raises(MessageError, match="update_codec"):
        server.accept(ClientReply(0, 0, 5, 1, torch.tensor(1.0), whole))
    assert server.average()[1] == 0


def test_seeds_of_the_rounding_differ_by_round_and_client() -> None:
    parties, seen = federation(exact=1, update="scalars"), []
    accept = parties.fed_server.accept

    def keep(reply: ScalarReply) -> None:
        seen.append(reply.model["packed/int8"].copy())
        accept(reply)

    parties.fed_server.accept = keep
    parties.run_round()
    parties.run_round()
    assert len({array.tobytes() for array in seen}) == len(seen) == 6
    assert all(isinstance(array, np.ndarray) for array in seen)
