"""A step towards the mean."""

import pytest
import torch

from heron.errors import ConfigError
from heron.server.fed_step import FedStep
from heron.wire import ClientReply
from tests.algorithms.test_oracles import small_split
from tests.algorithms.test_relative_oracles import federation, sent


def test_it_goes_a_share_of_the_way_and_leaves_its_arguments_alone() -> None:
    before, mean = {"weight": torch.tensor([1.0, -2.0]), "other": torch.ones(1)}, {"weight": torch.tensor([3.0, 2.0])}
    found, moments = FedStep(0.25).step(before, mean, {})
    assert found["weight"].tolist() == [1.5, -1.0]
    assert found.keys() == mean.keys()
    assert moments == {}
    assert before["weight"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize("name", ["heron", "sflv2", "fedavg"])
def test_the_model_goes_a_share_of_the_way_to_the_mean_of_the_replies(name: str) -> None:
    parties = federation(name, small_split(), fed_server={"optimizer": "step", "learning_rate": 0.3})
    before = {key: tensor.clone() for key, tensor in parties.fed_server.model.items()}
    replies: list[dict[str, torch.Tensor]] = []
    parties.listeners.append(
        lambda message, _: (
            replies.append({key: torch.as_tensor(one).clone() for key, one in message.model.items()})
            if isinstance(message, ClientReply)
            else None
        )
    )
    parties.run_round()
    for key, tensor in parties.fed_server.model.items():
        mean = torch.stack([reply[key] for reply in replies]).mean(0)
        torch.testing.assert_close(tensor, before[key] + 0.3 * (mean - before[key]), rtol=1e-5, atol=1e-6)
        assert not torch.equal(tensor, before[key])


def test_scalars_that_clients_replay_leave_no_place_for_it() -> None:
    with pytest.raises(ConfigError, match=r"expected fed_server\.optimizer=average if clients send scalars"):
        federation("heron", small_split(), update="scalars", fed_server={"optimizer": "step"})


def test_messages_are_those_of_the_mean() -> None:
    """It is the Fed Server's alone."""
    kinds = [
        [type(one) for one in sent(federation("heron", small_split(), fed_server={"optimizer": rule}))]
        for rule in ("average", "step")
    ]
    assert kinds[0] == kinds[1]
