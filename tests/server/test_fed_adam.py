"""FedAdam at the Fed Server: equal to Algorithm 2 in NumPy, resumable, and no business of the buffers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.algorithms import ALGORITHMS
from heron.cli.main import main
from heron.config import build_federation, load_splits, recipe_config
from heron.errors import ConfigError
from heron.runs.run_directory import RunDirectory
from heron.server.fed_adam import FedAdam
from heron.server.fed_server import FedServer
from heron.wire import ClientReply
from heron.wire.groups import Averaging
from tests.conformance.test_algorithms import NUM_CLIENTS, assert_equal, comparable, federation, run, tensors_of
from tests.reference.fed_adam import fed_adam
from tests.server.terms import terms_of

RULE = FedAdam(0.02, 0.8, 0.97, 1e-4)
VALUES = {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.97, "epsilon": 1e-4}
ADAM = Averaging(optimizer="adam", **VALUES)
# The others' Fed Servers replay scalars.
EVERY = pytest.mark.parametrize(
    "name", [name for name, algorithm in ALGORITHMS.items() if algorithm.fixed.get("update") != "scalars"]
)


def setup_module() -> None:
    torch.set_num_threads(1)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), max_size=3).map(tuple),
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 1e3]),
    num_rounds=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_steps_equal_numpy_bit_for_bit(shape: tuple[int, ...], scale: float, num_rounds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, *means = (scale * rng.standard_normal((num_rounds + 1, *shape))).astype(np.float32)
    model, moments = {"w": torch.from_numpy(np.array(start))}, {}
    for mean in means:
        model, moments = RULE.step(model, {"w": torch.from_numpy(np.array(mean))}, moments)
    np.testing.assert_array_equal(model["w"].numpy(), fed_adam(np.array(start), means, **VALUES))


def test_a_step_changes_none_of_its_arguments() -> None:
    model, mean = {"w": torch.ones(3)}, {"w": torch.full((3,), 2.0)}
    _, moments = RULE.step(model, mean, {})
    kept = {name: tensor.clone() for name, tensor in (model | mean | moments).items()}
    again = [RULE.step(model, mean, moments) for _ in range(2)]
    assert_equal(again[0][0] | again[0][1], again[1][0] | again[1][1])
    assert_equal(model | mean | moments, kept)


def average(values: list[np.ndarray]) -> np.ndarray:
    """Counters have no mean: the largest counts."""
    if values[0].dtype == np.int64:
        return np.max(values, axis=0)
    first, second, third = values
    return (first + second + third) / np.float32(NUM_CLIENTS)


@EVERY
def test_a_federation_equals_the_oracle_and_averages_its_buffers(name: str) -> None:
    """Replies as they arrive at the server, averaged in NumPy in their order."""
    parties = federation(name, fed_server=ADAM)
    buffers, accept = parties.runtime.local.buffers(), parties.fed_server.accept
    start = {key: tensor.numpy().copy() for key, tensor in parties.fed_server.model.items()}
    replies: list[dict[str, np.ndarray]] = []

    def recording(reply: ClientReply) -> None:
        replies.append({key: tensor.numpy().copy() for key, tensor in reply.model.items()})
        accept(reply)

    parties.fed_server.accept = recording
    means = []
    for _ in range(3):
        replies.clear()
        parties.run_round()
        assert len(replies) == NUM_CLIENTS
        means.append({key: average([reply[key] for reply in replies]) for key in start})
    for key, found in parties.fed_server.model.items():
        history = [mean[key] for mean in means]
        expected = history[-1] if key in buffers else fed_adam(start[key], history, **VALUES)
        np.testing.assert_array_equal(found.numpy(), expected, err_msg=key)
    trained = {key for key in start if key not in buffers}
    assert parties.fed_server.moments.keys() == {f"{part}/{key}" for part in ("first", "second") for key in trained}
    assert bool(trained) == (name != "frozen")


@EVERY
def test_resumes_bit_for_bit(name: str, tmp_path) -> None:
    changes = {"fed_server": ADAM, "wire": True}
    whole = run(name, RunDirectory(tmp_path / "whole"), **changes)
    whole.train()
    run(name, RunDirectory(tmp_path / "cut"), rounds=2, **changes).train()
    resumed = run(name, RunDirectory(tmp_path / "cut"), **changes)
    assert resumed.restore() == 2
    resumed.train()
    assert comparable(resumed.directory.read_metrics()) == comparable(whole.directory.read_metrics())
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()
    assert_equal(resumed.federation.fed_server.moments, whole.federation.fed_server.moments)


def test_a_round_without_a_reply_is_no_step() -> None:
    model = {"w": torch.ones(2)}
    server = FedServer(terms_of(model, fed_server=ADAM), model)
    server.accept(reply(torch.full((2,), 3.0)))
    server.average()
    model, moments = dict(server.model), dict(server.moments)
    assert server.average()[1] == 0
    assert_equal(server.model | server.moments, model | moments)
    assert not torch.equal(server.model["w"], torch.ones(2))


def reply(weights: torch.Tensor) -> ClientReply:
    return ClientReply(0, 0, 5, 1, torch.tensor(0.5), {"w": weights})


def test_learns_where_averaging_learns() -> None:
    averaged, adapted = (
        run("heron", rounds=25, fed_server={"optimizer": optimizer}).train() for optimizer in ("average", "adam")
    )
    assert averaged[-1]["test_accuracy"] > 0.85
    assert adapted[-1]["test_accuracy"] > 0.85


def built(*assignments: str) -> FedAdam | None:
    config = recipe_config("digits", "heron", list(assignments))
    return build_federation(config, load_splits(config)).fed_server.optimizer


def test_the_configuration_says_which() -> None:
    assert built() is None
    assert built("fed_server.learning_rate=0.5", "fed_server.beta1=0.5") is None
    changes = [f"fed_server.{key}={value}" for key, value in VALUES.items()]
    assert built("fed_server.optimizer=adam", *changes) == RULE


def test_a_mean_of_scalars_takes_no_optimiser(capsys) -> None:
    changes = ["--set", "update=scalars", "--set", "fed_server.optimizer=adam"]
    assert main(["train", "digits", *changes]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "fed_server.optimizer=average" in line


def test_plain_averaging_leaves_no_state() -> None:
    parties = federation("heron")
    parties.run_round()
    assert not any("moments" in name for name in tensors_of(parties))


@pytest.mark.parametrize(
    ("values", "part"),
    [
        *(({name: value}, f"{name} > 0") for name in ("learning_rate", "epsilon") for value in (0.0, -1.0, np.nan)),
        *(({name: value}, f"{name} in [0, 1)") for name in ("beta1", "beta2") for value in (-0.1, 1.0, np.nan)),
    ],
)
def test_values_out_of_range_are_refused_in_one_line(values: dict[str, float], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FedAdam(**values)
    message = str(caught.value)
    assert part in message
    assert f"found {next(iter(values.values()))}" in message
    assert "\n" not in message
