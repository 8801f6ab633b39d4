"""Codecs, bundles and re-use of uploads, over the table of algorithms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heron.algorithms import ALGORITHMS
from heron.client.attendance import attendance
from heron.engines.in_process import Federation
from heron.errors import ConfigError
from heron.runs.checkpoint import load_checkpoint
from heron.runs.run_directory import RunDirectory
from heron.seeds import derive_seed
from heron.tensors import as_tensor
from heron.wire import CODECS, PackedData, SmashedData, encode, encode_bundle, pack_tensor, packed_bytes, unpack_upload
from heron.wire.groups import Smashed
from tests.conformance.test_algorithms import (
    BATCH,
    CHANNELS,
    NUM_CLIENTS,
    SIZES,
    assert_equal,
    comparable,
    federation,
    run,
    tensors_of,
)
from tests.tiers import rows

# Algorithms whose smashed data may be packed, and those that wait for no answer.
PACKING = [name for name, row in ALGORITHMS.items() if row.uploads != "never" and row.answers != "loss"]
DECOUPLED = [name for name in PACKING if ALGORITHMS[name].answers is None]
COUPLED = [name for name, row in ALGORITHMS.items() if row.answers is not None]
WAYS = [Smashed(codec, zstd) for codec in CODECS for zstd in (False, True)]
QUICK_WAYS = [Smashed("int4", zstd=True), Smashed("dither6", zstd=False)]
EVERY_WAY = pytest.mark.parametrize("way", rows(WAYS, QUICK_WAYS), ids=lambda way: way.codec + "+zstd" * way.zstd)


def sent_by(parties: Federation) -> dict[str, list]:
    """Every message that passes the channel from now on."""
    sent: dict[str, list] = {"uplink": [], "downlink": []}
    parties.listeners.append(lambda message, direction: sent[direction].append(message))
    return sent


def batches(period: int) -> list[int]:
    """Sizes of the uploads of a round, client after client."""
    return [
        size for total in SIZES for size in [min(BATCH, total - start) for start in range(0, total, BATCH)][::period]
    ]


@pytest.mark.parametrize("name", PACKING)
@EVERY_WAY
def test_wire_equals_reference(name: str, way: Smashed) -> None:
    reference, wire = (run(name, rounds=2, smashed=way, wire=wire) for wire in (False, True))
    assert comparable(reference.train()) == comparable(wire.train())
    assert_equal(tensors_of(wire.federation), tensors_of(reference.federation))
    assert wire.federation.ledger.to_dict() == reference.federation.ledger.to_dict()


@pytest.mark.parametrize("name", PACKING)
@pytest.mark.parametrize("codec", rows(CODECS, {"fp32", "int4"}))
@pytest.mark.parametrize("period", rows([1, 2], {2}))
def test_the_ledger_equals_the_closed_form_to_the_byte(name: str, codec: str, period: int) -> None:
    """codes + 8 bytes a channel + 4 a dimension (+ 8 of a seed) for each upload, labels of a byte; 4 a value and 8 a
    label unpacked."""
    parties = federation(name, smashed=Smashed(codec), upload_period=period)
    sent = sent_by(parties)
    parties.run_round()
    sizes = batches(period if ALGORITHMS[name].uploads == "periodic" else 1)
    per_byte = {"fp32": 1 / 4, "fp16": 1 / 2, "int8": 1, "int4": 2, "dither6": 3}[codec]
    values = [size * CHANNELS * 16 for size in sizes]
    payload = sum(math.ceil(count / per_byte) for count in values)
    scales = 8 * CHANNELS * len(sizes) if codec in {"int8", "int4", "dither6"} else 0
    scales += 8 * len(sizes) if codec == "dither6" else 0
    shapes = 16 * len(sizes) if codec != "fp32" else 0
    uplink, downlink = parties.ledger.by_kind("uplink"), parties.ledger.by_kind("downlink")
    assert uplink["smashed"] == payload + scales + shapes
    assert uplink["labels"] == sum(sizes) * (8 if codec == "fp32" else 1)
    if codec != "fp32":
        shapes_of_all = [(size, CHANNELS, 4, 4) for size in sizes]
        assert uplink["smashed"] == sum(packed_bytes(shape, codec) for shape in shapes_of_all)
    if ALGORITHMS[name].answers == "cut_gradient":
        assert downlink["cut_gradient"] == 4 * sum(values)
    for direction in ("uplink", "downlink"):
        assert getattr(parties.ledger, f"{direction}_bytes") == sum(len(encode(one)) for one in sent[direction])


@pytest.mark.parametrize("name", rows(PACKING, {"heron", "sflv2"}))
def test_learns_with_four_bits(name: str) -> None:
    rows = run(name, rounds=25, smashed=Smashed("int4", zstd=True)).train()
    assert rows[-1]["test_accuracy"] > 0.85  # chance is 0.25


@pytest.mark.parametrize("name", ["heron", "sflv2"])
def test_the_main_server_sees_rounded_smashed_data(name: str) -> None:
    """And its gradient is taken there: another codec, another gradient, of the shape of the smashed data."""
    exact, packed = (federation(name, smashed=Smashed(codec)) for codec in ("fp32", "int4"))
    for parties in (exact, packed):
        parties.run_round()
    found, expected = tensors_of(packed), tensors_of(exact)
    assert any(not torch.equal(found[key], expected[key]) for key in found if key.startswith("main_server"))


def test_rounding_is_a_function_of_run_round_client_and_step() -> None:
    """The client part of the frozen control is the same for every codec, so both runs have the same smashed data."""
    exact, packed = (federation("frozen", smashed=Smashed(codec), seed=4) for codec in ("fp32", "int4"))
    sent = [sent_by(parties)["uplink"] for parties in (exact, packed)]
    exact.run_round()
    packed.run_round()
    pairs = [pair for pair in zip(*sent, strict=True) if isinstance(pair[0], SmashedData)]
    assert len(pairs) == len(batches(1))
    for smashed, found in pairs:
        place = (4, smashed.round_index, smashed.client_id, smashed.local_step)
        expected = pack_tensor(smashed.smashed, "int4", derive_seed("smashed codec", *place))
        assert found.packed.keys() == expected.keys()
        assert all(np.array_equal(found.packed[name], array) for name, array in expected.items())


@pytest.mark.parametrize("name", COUPLED)
@pytest.mark.parametrize(
    ("change", "key"), [({"server": {"reuse": 1}}, "server.reuse"), ({"link": {"bundle": True}}, "link.bundle")]
)
def test_what_coupled_algorithms_have_no_place_for(name: str, change: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=f"expected {key}=.*{name}") as caught:
        federation(name, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
def test_probes_are_not_packed(way: Smashed) -> None:
    with pytest.raises(ConfigError, match=r"smashed\.codec=fp32 and smashed\.zstd=false with hosl"):
        federation("hosl", smashed=way)


@pytest.mark.parametrize("name", [*DECOUPLED, "fedavg"])
@pytest.mark.parametrize("way", [WAYS[0], WAYS[-1]], ids=str)
@pytest.mark.parametrize("wire", [False, True])
def test_a_bundle_changes_bytes_and_nothing_else(name: str, way: Smashed, wire: bool) -> None:
    plain, bundled = (run(name, rounds=2, smashed=way, link={"bundle": bundle}, wire=wire) for bundle in (False, True))
    own = {"uplink_bytes", "downlink_bytes"}
    rows = [
        [{key: value for key, value in row.items() if key not in own} for row in comparable(each.train())]
        for each in (plain, bundled)
    ]
    assert rows[0] == rows[1]
    assert_equal(tensors_of(bundled.federation), tensors_of(plain.federation))
    for direction in ("uplink", "downlink"):
        before, after = (each.federation.ledger.by_kind(direction) for each in (plain, bundled))
        assert after.pop("framing") < before.pop("framing")
        assert after == before
        assert bundled.federation.ledger.num_messages(direction) == 2 * NUM_CLIENTS


def test_a_bundle_is_counted_to_the_byte() -> None:
    """A bundle by `encode_bundle`, of the messages that would have been sent one by one."""
    plain, bundled = (federation("heron", smashed=Smashed("int8"), link={"bundle": bundle}) for bundle in (False, True))
    sent, parties = sent_by(plain), []
    plain.run_round()
    for message in sent["uplink"]:
        if not parties or parties[-1][0].client_id != message.client_id:
            parties.append([])
        parties[-1].append(message)
    bundled.run_round()
    # Replies are views of a learner that went on: of the same sizes.
    assert len(parties) == NUM_CLIENTS
    assert bundled.ledger.uplink_bytes == sum(len(encode_bundle(each)) for each in parties)
    assert bundled.ledger.downlink_bytes == sum(len(encode_bundle([each])) for each in sent["downlink"])


def test_who_drops_out_has_sent_nothing_of_a_bundle() -> None:
    """Without bundles what it had uploaded until then is used; with them the Main Server never sees it."""
    plain, bundled = (federation("heron", link={"bundle": each}, clients={"dropout": 0.6}) for each in (False, True))
    seen: dict[Federation, list] = {plain: [], bundled: []}
    for parties, uploads in seen.items():
        original = parties.main_server.receive
        parties.main_server.receive = lambda upload, uploads=uploads, original=original: (
            uploads.append((upload.round_index, upload.client_id)),
            original(upload),
        )
    replied, started = set(), 0
    for index in range(8):
        for client_id in plain.participants(index):
            steps = -(-SIZES[client_id] // BATCH)
            fate = attendance(plain.settings.clients, 0, index, client_id, steps)
            started += bool(not fate.replies and fate.max_steps)
            if fate.replies:
                replied.add((index, client_id))
        assert plain.run_round().num_replies == bundled.run_round().num_replies
    assert started > 2  # dropped out after an upload
    assert set(seen[bundled]) == replied < set(seen[plain])
    assert bundled.ledger.num_messages("uplink") == len(replied)
    assert plain.client_examples == bundled.client_examples


@pytest.mark.parametrize("name", DECOUPLED)
@pytest.mark.parametrize("bundle", [False, True])
def test_reuse_resumes_bit_for_bit(name: str, bundle: bool, tmp_path) -> None:
    changes = {
        "smashed": Smashed("int8", zstd=True),
        "server": {"reuse": 2, "buffer_size": 5},
        "link": {"bundle": bundle},
    }
    whole = run(name, RunDirectory(tmp_path / "whole"), **changes)
    whole.train()
    run(name, RunDirectory(tmp_path / "cut"), rounds=2, **changes).train()
    resumed = run(name, RunDirectory(tmp_path / "cut"), **changes)
    assert resumed.restore() == 2
    resumed.train()
    assert comparable(resumed.directory.read_metrics()) == comparable(whole.directory.read_metrics())
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()
    kept = [key for key in load_checkpoint(whole.directory.checkpoint)[0] if key.startswith("main_server::uploads/")]
    assert {key.split("/")[1] for key in kept} == {"0", "1", "2", "3", "4"}


@pytest.mark.parametrize("name", DECOUPLED)
def test_reuse_does_what_it_says(name: str) -> None:
    """After each upload, three steps on uploads among the last two; a server that does not re-use keeps nothing."""
    parties = federation(name, smashed=Smashed("int8"), server={"reuse": 3, "buffer_size": 2})
    sent, trained = sent_by(parties)["uplink"], []

    def before_forward(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not inputs[0].requires_grad:  # with a gradient at z it is the alignment of an auxiliary network
            trained.append(inputs[0].clone())

    parties.main_server.module.register_forward_pre_hook(before_forward)
    for _ in range(2):
        parties.run_round()
    uploads = [as_tensor(unpack_upload(message).smashed) for message in sent if isinstance(message, PackedData)]
    assert len(uploads) == 2 * len(batches(1))
    assert len(trained) == 4 * len(uploads)
    drawn = []
    for number, upload in enumerate(uploads):
        fresh, *others = trained[4 * number : 4 * number + 4]
        torch.testing.assert_close(fresh, upload, rtol=0, atol=0)
        kept = uploads[max(0, number - 1) : number + 1]
        places = [[place for place, one in enumerate(kept) if torch.equal(one, other)] for other in others]
        assert all(places), "trained on an upload that is not among the last two"
        drawn += [place for found in places for place in found]
    assert set(drawn) == {0, 1}  # both of the two are drawn
    plain = federation(name)
    plain.run_round()
    assert not any("uploads/" in key for key in plain.state()[0])


def test_reuse_does_not_count_in_the_training_loss() -> None:
    parties = federation("frozen", server={"reuse": 2, "learning_rate": 1e-30})
    plain = federation("frozen", server={"learning_rate": 1e-30})
    assert parties.run_round().server_loss == plain.run_round().server_loss


def test_kept_uploads_stay_as_they_came() -> None:
    """Neither the unpacked copy nor a training step changes what is kept."""
    parties = federation("heron", server={"reuse": 1, "buffer_size": 20})
    received: list[tuple[SmashedData, torch.Tensor]] = []
    original = parties.main_server.receive

    def receive(upload: SmashedData) -> None:
        received.append((upload, upload.smashed.clone()))
        original(upload)

    parties.main_server.receive = receive
    parties.run_round()
    assert all(torch.equal(upload.smashed, before) for upload, before in received)
    kept = [entry for key, entry in parties.main_server.state().items() if key.endswith("/smashed")]
    assert len(kept) == len(received)
    assert all(torch.equal(entry, before) for entry, (_, before) in zip(kept, received, strict=True))


def test_settings_compose() -> None:
    """A period of uploads, four bits, compression, re-use and bundles, wire or not."""
    changes = {
        "smashed": Smashed("int4", zstd=True),
        "upload_period": 2,
        "server": {"reuse": 1, "buffer_size": 3},
        "link": {"bundle": True},
    }
    parties = [federation("heron", wire=wire, **changes) for wire in (False, True)]
    assert replace(parties[0].settings, wire=True) == parties[1].settings
    for each in parties:
        for _ in range(2):
            each.run_round()
    assert_equal(tensors_of(parties[0]), tensors_of(parties[1]))
    assert parties[0].ledger.to_dict() == parties[1].ledger.to_dict()
