"""Simulated time of whole federations, for every algorithm, from messages and operations counted independently."""

import dataclasses
import gc
import math
import weakref
from functools import partial

import pytest

from heron.algorithms import ALGORITHMS
from heron.config import plan_cost, recipe_config
from heron.costs.client_step import ExampleShape
from heron.costs.network import DeviceClass, LinkModel
from heron.costs.operations import StepFlops, step_flops
from heron.costs.round_time import Compute, Device, Receive, Send, Serve
from heron.costs.trace import RoundTrace
from heron.engines.in_process import Federation
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from heron.wire import encode
from tests.conformance.test_algorithms import (
    BATCH,
    NUM_CLIENTS,
    ONE_BOUNDARY,
    SIZES,
    comparable,
    examples,
    federation,
    partition,
    run,
    split_model,
)

DEVICE = Device(uplink_bytes_per_s=1e5, downlink_bytes_per_s=3e5, latency_s=0.01, flops_per_s=1e7)


def flops_of(parties: Federation) -> StepFlops:
    shape = ExampleShape((1, 4, 4))
    build = partial(split_model, deep=parties.split.local_heads is not None)
    return step_flops(build, parties.algorithm, parties.settings, shape, parties.runtime.local.criterion)


def linked(name: str, model: LinkModel | None = None, **changes) -> Federation:
    """The federation of the conformance suite, on a link."""
    plain = federation(name, **changes)
    model = model or LinkModel([DeviceClass(DEVICE)], 0, 1e8, flops_of(plain))
    split = split_model(deep=plain.split.local_heads is not None)
    return Federation(split, plain.algorithm, examples(), partition(), plain.settings, link=model)


def linked_run(name: str, directory: RunDirectory | None = None, rounds: int = 4, **changes) -> Run:
    plain = run(name, directory, rounds, **changes)
    return Run(linked(name, **changes), plain.splits, rounds=rounds, directory=directory)


def events_of(parties: Federation) -> list[list]:
    """The next round's events, client after client."""
    kept: list[list] = []
    parties._trace.take_seconds = lambda: kept.extend(list(line.events) for line in parties._trace._timelines) or 0.0
    parties.run_round()
    return kept


@ONE_BOUNDARY
def test_events_are_the_messages_and_operations_of_the_round(name: str) -> None:
    parties = linked(name, upload_period=2)
    sent: list[int] = []
    parties.listeners.append(lambda message, _: sent.append(len(encode(message))))
    flops = flops_of(parties)
    every = {"periodic": 2, "every_step": 1, "never": 10**9}[parties.algorithm.uploads]
    answered = parties.algorithm.answers is not None
    found = events_of(parties)
    assert len(found) == NUM_CLIENTS
    sizes = iter(sent)
    for events, num_examples in zip(found, SIZES, strict=True):
        expected = [Receive(next(sizes))]
        for step, start in enumerate(range(0, num_examples, BATCH)):
            share = min(BATCH, num_examples - start) / BATCH
            expected.append(Compute(flops.client[0] * share))
            for segment, cost in enumerate(flops.client[1:]):
                if step % every == 0 and parties.algorithm.uploads != "never":
                    expected += [Send(next(sizes)), Serve(flops.server[segment] * share)]
                    expected += [Receive(next(sizes))] if answered else []
                expected.append(Compute(cost * share))
        assert events == [*expected, Send(next(sizes))]
    assert next(sizes, None) is None
    assert sum(flops.client) > 0


def test_one_decoupled_client_by_hand() -> None:
    """Clients of 20, 16 and 24 examples do alike; the last with its three full batches is last."""
    free_server = LinkModel([DeviceClass(DEVICE)], 0, math.inf, StepFlops((10**5, 2 * 10**5), (7,), BATCH))
    parties = linked("frozen", free_server)
    result = events_of(parties)[2]
    broadcast, upload, reply = result[0].num_bytes, result[2].num_bytes, result[-1].num_bytes
    clock, line = broadcast / 3e5 + 0.01, 0.0
    for _ in range(3):
        clock += 0.01
        line = max(line, clock) + upload / 1e5
        clock += 0.02
    expected = max(line, clock) + reply / 1e5 + 0.01
    again = linked("frozen", free_server)
    again.run_round()
    assert again.simulated_s == pytest.approx(expected, rel=1e-12)


@ONE_BOUNDARY
def test_training_is_the_same_with_a_link_and_on_the_wire(name: str) -> None:
    plain, reference, wire = run(name), linked_run(name), linked_run(name, wire=True)
    rows = reference.train()
    assert comparable(rows) == comparable(wire.train())
    times = [row["simulated_s"] for row in rows]
    assert times == sorted(set(times))
    assert times[0] > 0.04  # latency of the broadcast and of the reply
    for row in rows:
        row.pop("simulated_s")
    assert comparable(rows) == comparable(plain.train())
    assert "simulated_s" not in plain.federation.state()[1]
    assert "simulated_s" not in plain.summary()
    assert reference.federation.simulated_s == times[-1]


@pytest.mark.parametrize("name", ["heron", "sflv2", "hosl"])
def test_simulated_time_goes_on_where_it_was(name: str, tmp_path) -> None:
    clients = {"dropout": 0.3, "stragglers": 0.4}
    whole = linked_run(name, RunDirectory(tmp_path / "whole"), clients=clients)
    whole.train()
    linked_run(name, RunDirectory(tmp_path / "cut"), rounds=2, clients=clients).train()
    resumed = linked_run(name, RunDirectory(tmp_path / "cut"), clients=clients)
    assert resumed.restore() == 2
    resumed.train()
    assert comparable(resumed.metrics) == comparable(whole.metrics)
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()


@ONE_BOUNDARY
def test_a_client_that_drops_out_counts_with_what_it_did(name: str) -> None:
    parties = linked(name, clients={"dropout": 0.9999999})
    fates = [parties.clients.fate(0, client, -(-SIZES[client] // BATCH)) for client in range(3)]
    found = events_of(parties)
    segments = len(flops_of(parties).client)
    for events, fate in zip(found, fates, strict=True):
        assert sum(isinstance(event, Compute) for event in events) == fate.max_steps * segments
        assert not isinstance(events[-1], Send) or fate.max_steps  # there is no reply
    whole = linked(name)
    whole.run_round()
    cut = linked(name, clients={"dropout": 0.9999999})
    cut.run_round()
    assert 0 < cut.simulated_s < whole.simulated_s


@pytest.mark.slow
@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize(("name", "handler"), [("heron", "train"), ("ho_sfl", "answer"), ("hosl", "answer")])
def test_noting_keeps_no_smashed_data_alive(name: str, handler: str, wire: bool) -> None:
    parties = linked(name, wire=wire)
    alive: list[weakref.ref] = []
    probes: list[bool] = []
    handle = getattr(parties.main_server, handler)

    def handle_and_watch(upload):
        alive.append(weakref.ref(upload.smashed if wire else upload.smashed.untyped_storage()))
        return handle(upload)

    def before_forward(*_: object) -> None:
        if alive:
            gc.collect()
            probes.append(all(reference() is None for reference in alive))

    setattr(parties.main_server, handler, handle_and_watch)
    parties.split.client.register_forward_pre_hook(before_forward)
    parties.run_round()
    assert len(probes) >= len(alive) - 1 > 0
    assert all(probes)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_step_has_the_operations_that_a_plan_counts(name: str) -> None:
    config = recipe_config("digits", name, [])
    build = partial(config.split.build, config.seed, random_weights=True)
    found = step_flops(build, ALGORITHMS[name], config, config.data.example, config.split.criterion)
    assert sum(found.client) == plan_cost(config).flops_per_step
    assert found.batch_size == 32
    # Linear layers of 16 x 64 and 64 x 10 (digits_cnn after relu3): forward 2 B (1024 + 640); backward twice that, but
    # for the gradient of the smashed data where nobody asks for it.
    forward, toward_smashed = 2 * 32 * (16 * 64 + 64 * 10), 2 * 32 * 16 * 64
    server_step = 3 * forward
    expected = {
        None: (server_step - toward_smashed,),
        "cut_gradient": (server_step,),
        "loss": (forward, server_step - toward_smashed),
    }[ALGORITHMS[name].answers]
    if ALGORITHMS[name].clean_first:  # the clean pass and two steps of two passes each, then both sides of a probe
        expected = (5 * forward, forward, forward)
    assert found.server == (() if ALGORITHMS[name].uploads == "never" else expected)


def test_without_operations_only_messages_take_time() -> None:
    parties = linked("sflv2", LinkModel([DeviceClass(DEVICE)]))
    assert {type(event) for events in events_of(parties) for event in events} == {Receive, Send, Serve}
    assert all(event.flops == 0 for events in events_of(parties) for event in events if isinstance(event, Serve))


def classes(*shares: float, listed: dict[int, set[int]] | None = None) -> list[DeviceClass]:
    """The n-th class has a latency of n seconds."""
    return [
        DeviceClass(
            dataclasses.replace(DEVICE, latency_s=float(index)), share, frozenset((listed or {}).get(index, ()))
        )
        for index, share in enumerate(shares)
    ]


def test_classes_are_drawn_by_their_shares() -> None:
    model, count = LinkModel(classes(0.5, 0.0, 0.2, 0.3), seed=7), 4000
    drawn = [model.device(client).latency_s for client in range(count)]
    for index, share in enumerate((0.5, 0.0, 0.2, 0.3)):
        assert drawn.count(index) / count == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / count))
    assert drawn == [LinkModel(classes(0.5, 0.0, 0.2, 0.3), seed=7).device(client).latency_s for client in range(count)]
    assert drawn != [LinkModel(classes(0.5, 0.0, 0.2, 0.3), seed=8).device(client).latency_s for client in range(count)]


def test_a_listed_client_has_its_class_and_shares_that_fall_short_leave_nobody_out() -> None:
    model = LinkModel(classes(0.0, 1e-9, 0.0, listed={0: {3}, 2: {5, 6}}), seed=1)
    assert [model.device(client).latency_s for client in range(8)] == [1, 1, 1, 0, 1, 2, 2, 1]


def test_each_client_has_the_device_of_its_class() -> None:
    trace = RoundTrace(LinkModel(classes(0.0, 1.0, listed={0: {1}})))
    for client_id in (1, 4):
        trace.begin_client(client_id)
        trace.message("uplink", 0)
    assert trace.take_seconds() == 1
    trace.begin_client(1)
    trace.message("uplink", 0)
    assert trace.take_seconds() == 0  # only what was noted since
