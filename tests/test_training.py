"""`heron.train`: what goes as scalars and in few bytes, for a network of one's own."""

import pytest
import torch

import heron
from heron.errors import ConfigError
from heron.zo import Estimator
from tests.conformance.test_algorithms import examples, split_model


def trained(**changes):
    return heron.train(split_model(), examples(), clients=3, rounds=2, batch_size=8, **changes)


def test_scalars_travel_in_place_of_what_learns_by_zeroth_order() -> None:
    dense, scalars = trained(optimizer="sgd"), trained(optimizer="sgd", update="scalars")
    for name, tensor in dense.model.joined_state_dict().items():
        assert torch.equal(scalars.model.joined_state_dict()[name], tensor), name
    # 60 examples, 20 for each client: three steps of one probe; a float32 for each, and one for each reply's loss.
    assert scalars.uplink_bytes_by_kind["scalars"] == 2 * 3 * (3 + 1) * 4
    assert scalars.uplink_bytes_by_kind["model"] < dense.uplink_bytes_by_kind["model"]


def test_smashed_data_take_the_bits_that_are_asked_for() -> None:
    """A channel of 8 or 4 examples of 16 values: a byte for each, two float32 of scales, and the shape's four int32."""
    whole, packed = trained(), trained(smashed_codec="int8")
    values = whole.uplink_bytes_by_kind["smashed"] // 4
    uploads = 2 * 3 * 3
    assert packed.uplink_bytes_by_kind["smashed"] == values + uploads * (3 * 8 + 16)
    assert packed.uplink_bytes_by_kind["labels"] * 8 == whole.uplink_bytes_by_kind["labels"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smashed_codec": "int7"}, "unknown smashed_codec 'int7'"),
        ({"algorithm": "cse_fsl", "update": "scalars"}, "expected update=dense"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trained(**changes)


def test_probes_count_in_scalars() -> None:
    result = trained(optimizer="sgd", update="scalars", estimator=Estimator(num_probes=4))
    assert result.uplink_bytes_by_kind["scalars"] == 2 * 3 * (3 * 4 + 1) * 4
