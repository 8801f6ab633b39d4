"""After `heron.train` a network is the caller's again, however training ended."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from safetensors.torch import save

import heron
from heron.errors import ConfigError, SplitError
from tests.conformance.test_algorithms import comparable, examples, split_model
from tests.test_training import START, trained


def test_a_network_is_the_users_again_after_training() -> None:
    split = split_model().eval()
    split.client[0].bias.requires_grad_(False)
    split.server[1].weight.grad = torch.ones_like(split.server[1].weight)
    parameters = list(split.parameters())
    result = heron.train(split, examples(), test=examples(), settings=START)
    assert result.model is split
    assert not any(module.training for module in split.modules())
    assert all(own is parameter for own, parameter in zip(split.parameters(), parameters, strict=True))
    assert not split.client[0].bias.requires_grad
    assert torch.equal(split.server[1].weight.grad, torch.ones_like(split.server[1].weight))
    for parameter in parameters:
        assert parameter.untyped_storage().nbytes() == parameter.nbytes
    save(split.state_dict())  # refused where tensors share storage
    inputs, labels = examples().tensors
    accuracy = (result.model(inputs).argmax(1) == labels).float().mean().item()
    assert accuracy == pytest.approx(result.metrics[-1]["test_accuracy"])


def test_gradients_left_from_before_play_no_part() -> None:
    fresh = trained()
    split = split_model()
    state = {name: tensor.clone() for name, tensor in split.state_dict().items()}
    split(examples().tensors[0]).sum().backward()
    split.load_state_dict(state)
    assert comparable(heron.train(split, examples(), settings=START).metrics) == comparable(fresh.metrics)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_network_is_the_users_again_after_an_interruption(error: type[BaseException]) -> None:
    split = split_model()
    split.server.eval()
    initial = split.client[0].weight.detach().clone()

    def stop(row: dict[str, Any]) -> None:
        raise error

    with pytest.raises(error):
        heron.train(split, examples(), settings=START, observe=stop)
    after_one = heron.train(split_model(), examples(), settings=START, rounds=1).model
    assert torch.equal(split.client[0].weight, after_one.client[0].weight)
    assert not torch.equal(split.client[0].weight, initial)
    assert (split.client.training, split.server.training) == (True, False)
    assert all(parameter.untyped_storage().nbytes() == parameter.nbytes for parameter in split.parameters())
    heron.train(split, examples(), settings=START)  # nobody has it any more


def test_a_network_that_is_in_training_is_not_trained_by_another() -> None:
    split = split_model()

    def again(row: dict[str, Any]) -> None:
        heron.train(split, examples(), settings=START)

    with pytest.raises(SplitError, match="another training has not finished"):
        heron.train(split, examples(), settings=START, observe=again)


def test_two_trainings_one_after_the_other_are_each_a_run() -> None:
    split = split_model()
    first = heron.train(split, examples(), settings=START, rounds=1)
    values = {name: tensor.clone() for name, tensor in split.state_dict().items()}
    second = heron.train(split, examples(), settings=START, rounds=1)
    other = split_model()
    other.load_state_dict(values)
    third = heron.train(other, examples(), settings=START, rounds=1)
    assert len(first.metrics) == len(second.metrics) == 1
    assert comparable(second.metrics) == comparable(third.metrics)


def test_a_network_is_not_moved_off_its_device_without_a_word() -> None:
    """As one on a GPU with the default `device="cpu"`; here a device that is always there."""
    with pytest.raises(ConfigError, match="device: expected 'meta', where the network is, found 'cpu'; set it"):
        heron.train(split_model().to("meta"), examples(), settings=START)


@pytest.mark.parametrize("algorithm", ["heron", "cse_fsl"])
@pytest.mark.parametrize(
    "context",
    [partial(torch.autocast, "cpu", torch.bfloat16), torch.no_grad, torch.inference_mode],
    ids=["autocast", "no_grad", "inference_mode"],
)
def test_contexts_of_the_caller_change_no_training(context: Callable[[], Any], algorithm: str) -> None:
    """Under autocast weights were those of before they were trained, to the end of the caller's context."""
    expected = heron.train(split_model(), examples(), settings=START, algorithm=algorithm)
    split = split_model()
    with context():
        split(examples().tensors[0])  # autocast keeps the weights that it has converted
        found = heron.train(split, examples(), settings=START, algorithm=algorithm)
        untrained = split_model()(examples().tensors[0])
        assert not torch.equal(split(examples().tensors[0]), untrained)
    assert comparable(found.metrics) == comparable(expected.metrics)
