"""Robust means and bounds at the Fed Server: equal to their definitions, and what one wrong client can do with them."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heron.config import build_federation, load_splits, recipe_config
from heron.errors import ConfigError, TrainingError
from heron.server.aggregation import Aggregation
from heron.server.fed_server import FedServer
from heron.server.fed_servers import make_fed_server
from heron.wire import ClientReply, ScalarReply
from heron.wire.groups import Averaging
from heron.wire.learning import Learning
from tests.algorithms.scalar_runs import assert_same_bits, clients, dense, everything, federation, kinds, record, run
from tests.conformance.test_algorithms import run as toy_run
from tests.reference.aggregation import median, scaled_down, trimmed_mean
from tests.server.terms import terms_of

SHARES = [Fraction(0), Fraction(1, 10), Fraction(7, 100), Fraction(1, 4), Fraction(49, 100)]
FAR = 1e6


def setup_module() -> None:
    torch.set_num_threads(1)


def reply(client_id: int, model: dict[str, Tensor], num_examples: int = 5) -> ClientReply:
    return ClientReply(0, client_id, num_examples, 1, torch.tensor(0.5), model)


def fed_server(model: dict[str, Tensor], *, buffers=(), weighting: str = "equal", **averaging: Any) -> FedServer:
    terms = terms_of(model, buffers=buffers, clients={"weighting": weighting}, fed_server=Averaging(**averaging))
    return FedServer(terms, model)


def taken(aggregation: Aggregation, values_NC: Tensor) -> Tensor:
    aggregator = aggregation.aggregator()
    for values_C in values_NC:
        aggregator.add({"w": values_C}, 1.0)
    return aggregator.take()["w"]


@settings(max_examples=60, deadline=None)
@given(
    num_replies=st.integers(1, 100),
    num_coordinates=st.integers(1, 3),
    share=st.sampled_from(SHARES),
    seed=st.integers(0, 2**31),
)
def test_means_are_those_of_the_definitions(num_replies: int, num_coordinates: int, share: Fraction, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values_NC = torch.randn(num_replies, num_coordinates, generator=generator, dtype=torch.float64)
    columns = values_NC.T.tolist()
    found = taken(Aggregation("median"), values_NC)
    assert found.tolist() == pytest.approx([median(column) for column in columns], rel=1e-12)
    found = taken(Aggregation("trimmed_mean", float(share)), values_NC)
    expected = [trimmed_mean(column, share) for column in columns]
    assert found.tolist() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("method", ["median", "trimmed_mean"])
def test_neither_order_nor_claimed_examples_count(method: str) -> None:
    generator = torch.Generator().manual_seed(0)
    models = [{"w": torch.randn(7, generator=generator)} for _ in range(5)]
    results = []
    for order, num_examples in ((range(5), 1), (reversed(range(5)), 10**6)):
        server = fed_server({"w": torch.zeros(7)}, weighting="examples", aggregation=method, trim=0.2)
        for client_id in order:
            server.accept(reply(client_id, models[client_id], num_examples if client_id == 3 else 1))
        server.average()
        results.append(server.model["w"])
    assert torch.equal(*results)


def test_a_trimmed_mean_of_nothing_trimmed_is_the_mean() -> None:
    values_NC = torch.randn(6, 4, dtype=torch.float64)
    assert taken(Aggregation("trimmed_mean", 0.0), values_NC).tolist() == pytest.approx(values_NC.mean(0).tolist())


@pytest.mark.parametrize("method", ["median", "trimmed_mean"])
def test_counters_stay_whole(method: str) -> None:
    server = fed_server({"count": torch.tensor(0), "w": torch.zeros(1)}, aggregation=method, trim=0.4)
    for client_id, count in enumerate((7, 2**40, 5)):
        server.accept(reply(client_id, {"count": torch.tensor(count), "w": torch.zeros(1)}))
    server.average()
    assert (server.model["count"].dtype, int(server.model["count"])) == (torch.int64, 7)


@settings(max_examples=40, deadline=None)
@given(
    change=st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=5),
    max_norm=st.floats(1e-3, 1e4),
    start=st.sampled_from([0.0, 1.5]),
)
def test_a_change_is_scaled_down_to_the_bound(change: list[float], max_norm: float, start: float) -> None:
    before = {"a": torch.full((2,), start, dtype=torch.float64), "b": torch.full((3,), start, dtype=torch.float64)}
    moved = torch.tensor(change, dtype=torch.float64)
    sent = {"a": before["a"] + moved[:2], "b": before["b"] + moved[2:]}
    found, was_bounded = Aggregation(max_norm=max_norm).bounded(sent, before)
    expected = [start + value for value in scaled_down(change, max_norm)]
    assert torch.cat([found["a"], found["b"]]).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    norm = float(moved.norm())
    if norm < max_norm * (1 - 1e-9):
        assert found is sent, "what is within the bound keeps its bits"
    assert was_bounded or norm <= max_norm * (1 + 1e-9)


def test_statistics_are_no_part_of_the_norm() -> None:
    start = {"running_mean": torch.zeros(2), "w": torch.zeros(2)}
    server = fed_server(start, buffers=["running_mean"], max_norm=1.0)
    server.accept(reply(0, {"running_mean": torch.full((2,), 100.0), "w": torch.tensor([0.6, 0.0])}))
    server.average()
    assert server.model["running_mean"].tolist() == [100.0, 100.0]
    assert torch.equal(server.model["w"], torch.tensor([0.6, 0.0]))
    assert server.num_bounded == 0


def attacked(**averaging: Any) -> tuple[float, int]:
    """Distance of the global model from that of the honest, of whom one in five is none; replies that were bounded."""
    generator = torch.Generator().manual_seed(0)
    server = fed_server({"w": torch.zeros(50)}, **averaging)
    honest = [0.1 * torch.randn(50, generator=generator) + 0.2 for _ in range(4)]
    for client_id, weights in enumerate([*honest, torch.full((50,), -FAR)]):
        server.accept(reply(client_id, {"w": weights}))
    server.average()
    return float((server.model["w"] - torch.stack(honest).mean(0)).abs().max()), server.num_bounded


def test_one_wrong_client_in_five() -> None:
    """Honest values are within a few tenths of each other, and so does every robust mean of them and one stranger.

    Honest changes have norms of about sqrt(50 (0.2^2 + 0.1^2)) = 1.6. Bounded to 2, the stranger moves a
    coordinate of the mean of five by 2 / sqrt(50) / 5 < 0.06, and takes a fifth of the honest mean away, itself < 0.5.
    """
    assert attacked()[0] > FAR / 6
    assert attacked(aggregation="median")[0] < 0.3
    assert attacked(aggregation="trimmed_mean", trim=0.2)[0] < 0.3
    distance, num_bounded = attacked(max_norm=2.0)
    assert distance < 0.06 + 0.5 / 5
    assert num_bounded == 1


def test_bounds_are_counted_for_each_round_and_forgotten_when_undone() -> None:
    server = fed_server({"w": torch.zeros(1)}, max_norm=1.0)
    undo = server.save_point()
    server.accept(reply(0, {"w": torch.tensor([5.0])}))
    undo()
    server.accept(reply(0, {"w": torch.tensor([0.5])}))
    server.average()
    assert server.num_bounded == 0
    server.accept(reply(0, {"w": torch.tensor([5.0])}))
    server.average()
    assert (server.num_bounded, server.model["w"].tolist()) == (1, [1.5])


@pytest.mark.parametrize("value", [3e38, -3e38, 1e21, float("inf"), float("nan")])
@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize("optimizer", ["average", "adam"])
def test_one_enormous_reply_is_refused_and_leaves_no_trace(value: float, weighting: str, optimizer: str) -> None:
    """1e21 is what FedAdam could not square, 3e38 what could not be weighted."""
    server = fed_server({"w": torch.zeros(2)}, weighting=weighting, optimizer=optimizer)
    with pytest.raises(TrainingError, match="expected a finite update"):
        server.accept(reply(0, {"w": torch.full((2,), value)}))
    server.accept(reply(1, {"w": torch.ones(2)}))
    server.average()
    assert bool((server.model["w"] > 0).all())
    assert all(bool(tensor.isfinite().all()) for tensor in server.moments.values())


def test_a_model_that_would_be_infinite_is_not_taken() -> None:
    """Sums of float16 overflow at 65,504 even if no single value does."""
    server = fed_server({"w": torch.zeros(2, dtype=torch.float16)})
    for client_id in range(2):
        server.accept(reply(client_id, {"w": torch.full((2,), 6e4, dtype=torch.float16)}))
    with pytest.raises(TrainingError, match="expected a finite global model"):
        server.average()
    assert torch.equal(server.model["w"], torch.zeros(2, dtype=torch.float16))


def test_a_change_in_half_precision_is_bounded_without_overflow() -> None:
    start, sent = {"w": torch.full((3,), -6e4, dtype=torch.float16)}, {"w": torch.full((3,), 6e4, dtype=torch.float16)}
    found, was_bounded = Aggregation(max_norm=2.0).bounded(sent, start)
    assert (was_bounded, found["w"].dtype) == (True, torch.float16)
    assert float((found["w"] - start["w"]).abs().max()) <= 2.0


def test_robust_means_of_large_tensors_are_made_piece_by_piece() -> None:
    values_NC = torch.randn(3, (1 << 20) + 5)
    assert torch.equal(taken(Aggregation("median"), values_NC), values_NC.median(dim=0).values)


def scalar_reply(scalars: list[float]) -> ScalarReply:
    return ScalarReply(0, 0, 5, len(scalars), torch.tensor(0.5), torch.tensor(scalars), {})


def after(scalars: list[float], **bounds: Any) -> dict[str, Tensor]:
    model = {"theta": torch.zeros(9)}
    terms = terms_of(model, replayed=["theta"], seed=5, fed_server=Averaging(**bounds))
    server = make_fed_server(terms, model, Learning(clients()))
    server.broadcast(0, 0)
    server.accept(scalar_reply(scalars))
    server.average()
    return server.global_model()


def test_scalars_are_cut_to_their_bound() -> None:
    assert_same_bits(after([3e38, -0.5, -9.0], max_scalar=2.0), after([2.0, -0.5, -2.0]))
    assert_same_bits(after([-0.5], max_scalar=0.5), after([-0.5]))


def test_clients_follow_what_was_cut() -> None:
    """Digests are compared in every round: who followed other scalars would ask for a snapshot."""
    bounded = run(federation(clients(), fed_server={"max_scalar": 0.2}, wire=True), 6)
    messages = record(bounded.federation)
    rows = bounded.train()
    assert any(row.get("bounded", 0) > 0 for row in rows)
    said = kinds(messages)
    assert "R" not in said
    assert "L" in said
    free = run(federation(clients(), wire=True), 6)
    assert all("bounded" not in row for row in free.train())
    assert not torch.equal(*(next(iter(each.federation.fed_server.theta.values())) for each in (bounded, free)))


@pytest.mark.parametrize(
    "averaging", [{"aggregation": "median"}, {"aggregation": "trimmed_mean", "trim": 0.3}], ids=str
)
def test_exact_layers_have_robust_means_beside_scalars(averaging: dict[str, Any]) -> None:
    """With `exact=1` the head travels as tensors: that part of the model is the same as if all parts did."""
    scalars, tensors = (
        run(federation(client, fed_server=averaging), 1) for client in (clients(exact=1), dense(clients(exact=1)))
    )
    for each in (scalars, tensors):
        each.train()
    found, expected = everything(scalars.federation), everything(tensors.federation)
    same = {name for name in found if torch.equal(found[name], expected[name])}
    assert {name for name in found if "auxiliary" in name} <= same


def test_learns_where_a_mean_learns() -> None:
    for averaging in (
        {"aggregation": "median"},
        {"aggregation": "trimmed_mean", "trim": 0.2},
        {"max_norm": 0.5},
    ):
        assert toy_run("heron", rounds=25, fed_server=averaging).train()[-1]["test_accuracy"] > 0.8


def test_bounds_that_nobody_reaches_change_no_bit() -> None:
    free, bounded = (toy_run("cse_fsl", fed_server={"max_norm": bound}) for bound in (0.0, 1e9))
    free.train()
    bounded.train()
    assert_same_bits(bounded.federation.state()[0], free.federation.state()[0])


@pytest.mark.parametrize(
    "values", [{"trim": 0.5}, {"trim": -0.1}, {"max_norm": -1.0}, {"max_norm": float("nan")}, {"max_scalar": -1.0}]
)
def test_values_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"expected fed_server.{next(iter(values))}"):
        Aggregation(**values)


@pytest.mark.parametrize(
    ("assignments", "reason"),
    [
        (["fed_server.max_scalar=1"], "set fed_server.max_norm"),
        (["update=scalars", "fed_server.aggregation=median"], "set fed_server.max_scalar"),
        (["update=scalars", "fed_server.max_norm=1"], "set fed_server.max_scalar"),
        (["fed_server.max_norm=1", "clients.weighting=examples"], "clients.weighting=equal"),
        (["fed_server.aggregation=median", "clients.per_round=2"], "at least 3 clients in a round"),
        (["fed_server.aggregation=trimmed_mean", "clients.total=2"], "at least 3 clients in a round"),
    ],
)
def test_a_bound_or_mean_that_could_do_nothing_is_refused(assignments: list[str], reason: str) -> None:
    config = recipe_config("digits", "heron", [*assignments, "client.exact=0", "client.keep_state=false"])
    with pytest.raises(ConfigError, match=reason):
        build_federation(config, load_splits(config))


def test_the_configuration_says_which() -> None:
    keys = {"aggregation": "trimmed_mean", "trim": 0.25, "max_norm": 3.0}
    config = recipe_config("digits", "heron", [f"fed_server.{key}={value}" for key, value in keys.items()])
    found = build_federation(config, load_splits(config)).fed_server.aggregation
    assert found == Aggregation("trimmed_mean", 0.25, 3.0)
