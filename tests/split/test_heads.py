import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d

from heron.errors import SplitError
from heron.split import linear_head, pooled_linear_head

sizes = st.integers(1, 6)


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(sizes, min_size=1, max_size=3), num_classes=sizes, batch=sizes)
def test_linear_head_is_one_matrix_on_flattened_smashed_data(shape, num_classes, batch):
    head = linear_head(torch.Size(shape), num_classes)
    smashed = torch.randn(batch, *shape)
    expected = smashed.reshape(batch, -1) @ head.fc.weight.t() + head.fc.bias
    torch.testing.assert_close(head(smashed), expected)
    assert head(smashed).shape == (batch, num_classes)


@settings(max_examples=30, deadline=None)
@given(channels=sizes, height=sizes, width=sizes, num_classes=sizes, pool=st.integers(1, 3))
def test_pooled_linear_head_pools_first(channels, height, width, num_classes, pool):
    shape = (channels, height, width)
    if min(height, width) < pool:
        with pytest.raises(SplitError, match="use linear_head or a smaller pool"):
            pooled_linear_head(shape, num_classes, pool)
        return
    head = pooled_linear_head(shape, num_classes, pool)
    smashed = torch.randn(2, *shape)
    expected = avg_pool2d(smashed, pool).flatten(1) @ head.fc.weight.t() + head.fc.bias
    torch.testing.assert_close(head(smashed), expected)
    num_parameters = sum(parameter.numel() for parameter in head.parameters())
    assert num_parameters == num_classes * (channels * (height // pool) * (width // pool) + 1)


def test_the_papers_head_has_163_850_parameters():
    """One fully connected layer on 64 x 16 x 16 pooled values: 10 * (16384 + 1)."""
    head = pooled_linear_head((64, 32, 32), 10)
    assert sum(parameter.numel() for parameter in head.parameters()) == 163_850


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: linear_head((), 10), "shape of one example"),
        (lambda: linear_head((4, 0), 10), "shape of one example"),
        (lambda: linear_head((4,), 0), "num_classes to be an integer of at least 1, found 0"),
        (lambda: linear_head((4,), 2.0), "num_classes to be an integer of at least 1, found 2.0"),
        (lambda: linear_head((4,), True), "num_classes to be an integer of at least 1, found True"),
        (lambda: pooled_linear_head((4,), 10), "channels, height, width"),
        (lambda: pooled_linear_head((4, 1, 8), 10), "sides of at least pool = 2"),
        (lambda: pooled_linear_head((4, 8, 8), 10, pool=0), "pool to be an integer of at least 1"),
    ],
)
def test_bad_arguments_are_refused(build, reason):
    with pytest.raises(SplitError, match=reason):
        build()
