"""The bundled digits."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as bundled_digits

from heron.data import Digits, Splits, labels_of
from heron.errors import ConfigError, DataError, MissingExtraError

NUM_EXAMPLES = 1797
NUM_TEST = 360  # ceil(0.2 * 1797)


def rows(*datasets):
    """Every example of some data sets as bytes, in one sorted list."""
    found = []
    for dataset in datasets:
        inputs, labels = dataset.tensors
        found += [row.tobytes() for row in torch.cat([inputs.flatten(1), labels[:, None].float()], dim=1).numpy()]
    return sorted(found)


def test_examples_are_the_bundled_ones_scaled_to_one():
    images, classes = bundled_digits(return_X_y=True)
    expected = sorted(row.tobytes() for row in np.concatenate([images / 16, classes[:, None]], axis=1).astype("f4"))
    splits = Digits(validation=0.25).load(3)
    assert isinstance(splits, Splits)
    # Nothing is lost, nothing is in two splits, and every image keeps its label.
    assert rows(splits.train, splits.validation, splits.test) == expected


def test_scikit_learn_is_read_and_not_imported():
    """It would bring scipy and pandas along, in every worker of a comparison anew."""
    code = (
        "import sys; from heron.data import Digits, labels_of, partition; labels = labels_of(Digits().load(0).train); "
        "partition('iid', labels, num_clients=5, alpha=1.0, seed=0); "
        "loaded = {'sklearn', 'scipy', 'pandas'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_absent_digits_are_refused_in_one_line(monkeypatch):
    monkeypatch.setattr("heron.data.digits.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"^[^\n]*scikit-learn[^\n]*heron-sfl\[train\]'$"):
        Digits().load(0)


def test_shapes_types_and_ranges():
    splits = Digits(validation=0.1).load(0)
    for dataset in (splits.train, splits.validation, splits.test):
        image, label = dataset[0]
        assert image.shape == (1, 8, 8)
        assert image.dtype == torch.float32
        assert label.dtype == torch.int64
        inputs = dataset.tensors[0]
        assert inputs.min() == 0
        assert inputs.max() == 1
    assert splits.num_classes == 10


@pytest.mark.parametrize(("validation", "num_validation"), [(0, 0), (0.0, 0), (0.1, 144), (0.5, 719)])
def test_sizes(validation, num_validation):
    """1437 examples outside the test split; ceil(share * 1437) of them for validation."""
    splits = Digits(validation=validation).load(0)
    assert len(splits.test) == NUM_TEST
    assert len(splits.validation) == num_validation
    assert len(splits.train) == NUM_EXAMPLES - NUM_TEST - num_validation


@pytest.mark.parametrize("name", ["validation", "test"])
def test_held_out_parts_are_stratified(name):
    splits = Digits(validation=0.2).load(5)
    everyone = np.bincount(bundled_digits().target)
    part = np.bincount(labels_of(getattr(splits, name)), minlength=10)
    share = part.sum() / NUM_EXAMPLES
    assert (abs(part - share * everyone) <= 2).all()  # rounded once by the test split, once by this one


def test_the_test_split_never_changes():
    reference = Digits(validation=0).load(0).test
    for validation, seed in [(0.1, 0), (0.3, 1), (0.3, 2**63)]:
        test = Digits(validation=validation).load(seed).test
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(test.tensors, reference.tensors, strict=True))
    # Numbers reported for this split are comparable only as long as it is this one: pinned, not derived.
    content = b"".join(tensor.numpy().tobytes() for tensor in reference.tensors)
    assert hashlib.sha256(content).hexdigest()[:16] == "f61c9b9dd2f6e871"


def test_validation_depends_on_the_seed_alone():
    first, again, other = (rows(Digits(validation=0.2).load(seed).validation) for seed in (4, 4, 5))
    assert first == again
    assert first != other


@pytest.mark.parametrize("validation", [-0.1, 1, 1.5, float("nan"), 0.001, 0.9999])
def test_a_share_that_cannot_be_had_is_refused_in_one_line(validation):
    with pytest.raises((ConfigError, DataError), match=r"^[^\n]*data\.validation[^\n]*$"):
        Digits(validation=validation).load(0)
