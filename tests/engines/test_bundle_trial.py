"""A bundle that is tried on a device: all examples are looked at, and only what is true is said of a loss."""

from functools import partial

import numpy as np
import pytest
from torch import Tensor
from torch.nn.functional import cross_entropy

from heron.arrays import to_host
from heron.client.onnx_runtime import Bundle
from heron.data.arrays_file import ArrayExamples
from heron.engines.bundle_trial import try_bundle
from heron.errors import DataError
from tests.export.clients import CLASSES, batch, exported, group_net, with_classes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return with_classes(exported(group_net()))


def examples() -> tuple[np.ndarray, np.ndarray]:
    whole = batch(40)
    return to_host(whole.inputs).copy(), to_host(whole.labels).copy()


@pytest.mark.parametrize("label", [-1, CLASSES, 2**40])
def test_a_label_that_is_no_class_is_refused_wherever_it_is(label: int, bundle: Bundle) -> None:
    """A graph takes -1 for the last class, where PyTorch refuses it."""
    inputs, labels = examples()
    labels[-1] = label
    with pytest.raises(DataError, match=f"expected labels from 0 to {CLASSES - 1}, found {label}"):
        try_bundle(bundle, ArrayExamples(inputs, labels), steps=1)


def test_a_negative_label_is_refused_where_the_number_of_classes_is_not_known() -> None:
    """As in an export from Python that does not say it."""
    inputs, labels = examples()
    labels[7] = -1
    with pytest.raises(DataError, match="expected labels of at least 0, found -1; number the classes from 0"):
        try_bundle(exported(group_net()), ArrayExamples(inputs, labels), steps=1)


def test_a_label_that_is_left_out_is_none_too_many(bundle: Bundle) -> None:
    inputs, labels = examples()
    labels[::2] = -100
    assert try_bundle(bundle, ArrayExamples(inputs, labels), steps=1).loss is not None


def test_the_label_that_a_criterion_leaves_out_is_allowed() -> None:
    """Any negative label is one that the criterion may leave out; another one is refused."""
    inputs, labels = examples()
    labels[::2] = -1
    bundle = exported(group_net(), criterion=partial(cross_entropy, ignore_index=-1))
    assert try_bundle(bundle, ArrayExamples(inputs, labels), steps=1).loss is not None
    labels[0] = -100
    with pytest.raises(DataError, match="expected labels of at least 0, found -100"):
        try_bundle(bundle, ArrayExamples(inputs, labels), steps=1)


def hinge(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean loss of two classes whose labels are -1 and 1."""
    return (1 - labels * outputs[:, 0]).relu().mean()


def own_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(outputs, labels)


def test_labels_of_an_own_criterion_may_be_anything_that_it_takes() -> None:
    inputs, labels = examples()
    signs = 2 * (labels % 2) - 1
    trial = try_bundle(exported(group_net(), criterion=hinge), ArrayExamples(inputs, signs), steps=1)
    assert trial.loss is not None
    with pytest.raises(DataError, match="expected labels of at least 0, found -1"):
        try_bundle(exported(group_net(), criterion=own_cross_entropy), ArrayExamples(inputs, signs), steps=1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 39, 299])
def test_an_input_that_is_no_number_is_named(place: int, value: float, bundle: Bundle) -> None:
    inputs, labels = (np.concatenate([array] * 8) for array in examples())
    inputs[place, 1, 2, 3] = value
    with pytest.raises(DataError, match=f"found NaN or infinity in example {place}; repair it"):
        try_bundle(bundle, ArrayExamples(inputs, labels), steps=1)


@pytest.mark.parametrize("algorithm", ["hosl", "mu_splitfed"])
def test_a_loss_that_a_server_would_send_is_not_made_up(algorithm: str) -> None:
    trial = try_bundle(exported(group_net(), algorithm), ArrayExamples(*examples()), steps=1)
    assert trial.loss is None
    assert trial.upload_bytes
