"""CIFAR-10 from small files in the real layout, from a stand-in for the hub, and from the real files where present."""

import random

import datasets
import numpy as np
import pytest
import torch

import heron.data.folder
from heron.data import Cifar10, labels_of
from heron.data.folder import data_folder
from heron.errors import DataError
from tests.data.cifar10_files import FakeHub, encoded, pictures, table, write

REAL = data_folder("cifar10", None).parent
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
pytestmark = pytest.mark.usefixtures("no_network")


def expected(pictures):
    """(pixel / 255 - mean) / deviation, channels first, in float64."""
    scaled = [(pictures[..., c] / 255 - MEAN[c]) / DEVIATION[c] for c in range(3)]
    return torch.from_numpy(np.stack(scaled, axis=1))


def test_values_shapes_and_types(root):
    splits = Cifar10(validation=0).load(0, root=root)
    for dataset, images, labels in (
        (splits.train, pictures(30), [i % 10 for i in range(30)]),
        (splits.test, pictures(10, seed=1), list(range(10))),
    ):
        inputs, classes = dataset.tensors
        assert inputs.dtype == torch.float32
        assert inputs.is_contiguous()
        torch.testing.assert_close(inputs.double(), expected(images), rtol=0, atol=1e-6)
        assert classes.dtype == torch.int64
        assert classes.tolist() == labels
    assert len(splits.validation) == 0
    assert splits.num_classes == 10


def test_validation_is_stratified_and_drawn_with_the_seed(root):
    splits, again, other = (Cifar10(validation=1 / 3).load(seed, root=root) for seed in (0, 0, 1))
    assert np.bincount(labels_of(splits.validation)).tolist() == [1] * 10
    assert np.bincount(labels_of(splits.train)).tolist() == [2] * 10
    assert torch.equal(splits.validation.tensors[0], again.validation.tensors[0])
    assert not torch.equal(splits.validation.tensors[0], other.validation.tensors[0])
    assert torch.equal(splits.test.tensors[0], other.test.tensors[0])
    # Disjoint, and together the file.
    both = torch.cat([splits.train.tensors[0], splits.validation.tensors[0]])
    whole = Cifar10(validation=0).load(0, root=root).train.tensors[0]
    assert sorted(both.sum((1, 2, 3)).tolist()) == sorted(whole.sum((1, 2, 3)).tolist())


@pytest.mark.parametrize(("limit", "num_examples"), [(1, 1), (7, 7), (30, 30), (31, 30), (0, 30)])
def test_a_limit_takes_a_prefix(root, limit, num_examples, monkeypatch):
    monkeypatch.setattr("heron.data.cifar10._ROWS_AT_ONCE", 4)  # a limit inside, at and past the end of a read
    splits = Cifar10(validation=0, train_limit=limit, test_limit=2).load(0, root=root)
    assert labels_of(splits.train).tolist() == [i % 10 for i in range(num_examples)]
    torch.testing.assert_close(splits.train.tensors[0].double(), expected(pictures(num_examples)), rtol=0, atol=1e-6)
    assert labels_of(splits.test).tolist() == [0, 1]


def test_only_what_the_limit_asks_for_is_decoded(root):
    images = [encoded(p) for p in pictures(4)] + [{"bytes": b"no image", "path": None}]
    write(root, "train", table(images, [0, 1, 2, 3, 4]))
    assert len(Cifar10(validation=0, train_limit=4).load(0, root=root).train) == 4
    with pytest.raises(DataError, match=r"^CIFAR-10 train: expected an encoded image, found something else in row 4 "):
        Cifar10(validation=0).load(0, root=root)


def test_grey_and_jpeg_images_and_further_columns_are_taken(root):
    grey = np.full((32, 32), 51, dtype=np.uint8)  # 51 / 255 = 0.2 in every channel
    images = [encoded(grey), encoded(np.dstack([grey] * 3), "JPEG")]
    write(root, "train", table(images, [3, 4], origin=["a", "b"]))
    inputs = Cifar10(validation=0).load(0, root=root).train.tensors[0]
    wanted = torch.tensor([(0.2 - mean) / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)])
    torch.testing.assert_close(inputs, wanted.view(1, 3, 1, 1).expand(2, 3, 32, 32), rtol=0, atol=1e-6)


def test_where_files_are_looked_for(root, tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("cache")
    (cache / "data").symlink_to(root)
    monkeypatch.setattr(heron.data.folder, "user_cache_path", lambda *_, **__: cache)
    for variable in (None, "", str(root)):
        monkeypatch.delenv("HERON_DATA", raising=False)
        if variable is not None:
            monkeypatch.setenv("HERON_DATA", variable)
        assert len(Cifar10(validation=0).load(0).train) == 30
    monkeypatch.setenv("HERON_DATA", str(cache))
    assert len(Cifar10(validation=0).load(0, root=root).train) == 30  # the argument wins


def test_a_local_file_is_read_in_silence_and_leaves_nothing(root, tmp_path, monkeypatch, capfd):
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    capfd.readouterr()
    Cifar10(validation=0).load(0, root=root)
    assert capfd.readouterr() == ("", "")
    assert not cache.exists()


def test_process_wide_generators_are_left_alone(root):
    Cifar10(validation=1 / 3).load(0, root=root)  # first use imports libraries
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    Cifar10(validation=1 / 3).load(1, root=root)
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002


class CountedTable:
    """A table that counts the rows it hands out."""

    def __init__(self, rows):
        self.rows = rows
        self.column_names = rows.column_names
        self.num_read = 0

    def cast_column(self, name, feature):
        self.rows = self.rows.cast_column(name, feature)
        return self

    def iter(self, batch_size):
        for rows in self.rows.iter(batch_size=batch_size):
            self.num_read += len(rows["label"])
            yield rows


@pytest.mark.parametrize(("limit", "num_read"), [(1, 4), (4, 4), (5, 8), (0, 20)])
def test_reading_stops_at_the_limit(tmp_path, limit, num_read, monkeypatch):
    """20 rows in fours: only the reads that hold the first `limit` rows are made."""
    tables = {split: CountedTable(FakeHub()("", split=split)) for split in ("train", "test")}
    monkeypatch.setattr("heron.data.cifar10._ROWS_AT_ONCE", 4)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: tables[split])
    Cifar10(validation=0, train_limit=limit, test_limit=4).load(0, root=tmp_path)
    assert (tables["train"].num_read, tables["test"].num_read) == (num_read, 4)


@pytest.mark.parametrize("present", [[], ["train"], ["test"]])
def test_the_hub_serves_both_splits_unless_both_files_are_there(root, present, monkeypatch):
    """The hub's images and a local JPEG copy differ: training on one and testing on the other would not be CIFAR-10."""
    for split in {"train", "test"} - set(present):
        (root / "cifar10" / f"{split}.parquet").unlink()
    hub = FakeHub()
    monkeypatch.setattr(datasets, "load_dataset", hub)
    splits = Cifar10(validation=0, train_limit=15).load(0, root=root)
    assert hub.asked == [("uoft-cs/cifar10", "train"), ("uoft-cs/cifar10", "test")]
    torch.testing.assert_close(splits.train.tensors[0].double(), expected(pictures(15, seed=7)), rtol=0, atol=1e-6)
    assert len(splits.test) == 20


@pytest.mark.skipif(
    not all((REAL / "cifar10" / f"{split}.parquet").is_file() for split in ("train", "test")),
    reason=f"no cifar10/train.parquet and cifar10/test.parquet in {REAL}; set HERON_DATA",
)
def test_the_real_files():
    splits = Cifar10(validation=0.1, train_limit=2000).load(0, root=REAL)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (1800, 200, 10_000)
    assert np.bincount(labels_of(splits.test)).tolist() == [1000] * 10
    # A prefix is a random sample: a class's count is binomial, mean 200, deviation 13.4; five of them.
    counts = np.bincount(np.concatenate([labels_of(splits.train), labels_of(splits.validation)]))
    assert (abs(counts - 200) < 67).all()
    # The constants are those of the training pixels: over 1800 images, whose means spread by about 0.6 of the
    # deviation, the mean is within 5 * 0.6 / 1800**0.5 = 0.07 of zero.
    inputs = splits.train.tensors[0]
    assert (inputs.mean((0, 2, 3)).abs() < 0.07).all()
    assert ((inputs.std((0, 2, 3)) - 1).abs() < 0.05).all()
