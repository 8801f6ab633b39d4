"""Refusals of the CIFAR-10 loader, each in one line that says what to do."""

import sys

import datasets
import httpx
import pytest

from heron.data import Cifar10
from heron.errors import ConfigError, DataError, MissingExtraError
from tests.data.cifar10_files import FakeHub, encoded, pictures, write

pytestmark = pytest.mark.usefixtures("no_network")


class HubClientError(Exception):
    """An error of a library below the hub's client, of no known base class."""


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach the Hub\nover\nthree lines"),
        datasets.exceptions.DatasetNotFoundError("no such data set"),
        datasets.exceptions.DatasetGenerationError("broken"),
        httpx.ConnectError("name or service not known"),
        HubClientError("new"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_file_and_no_hub_says_what_to_do(tmp_path, error, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", FakeHub(error))
    with pytest.raises(DataError) as caught:
        Cifar10(validation=0).load(0, root=tmp_path)
    assert str(caught.value) == (
        f"CIFAR-10: expected parquet files in {tmp_path / 'cifar10'}, found no train.parquet and no test.parquet and "
        f"no usable hub ({type(error).__name__}); set HERON_DATA to a folder that holds cifar10/train.parquet and "
        f"cifar10/test.parquet"
    )
    assert caught.value.__cause__ is error


def test_the_file_that_is_absent_is_named(root, monkeypatch):
    (root / "cifar10" / "test.parquet").unlink()
    monkeypatch.setattr(datasets, "load_dataset", FakeHub(ConnectionError()))
    with pytest.raises(DataError, match=r"found no test\.parquet and no usable hub \(ConnectionError\)"):
        Cifar10(validation=0).load(0, root=root)


def test_a_file_that_is_no_parquet_is_refused_in_silence(root, capfd, caplog):
    (root / "cifar10" / "train.parquet").write_bytes(b"no parquet at all")
    capfd.readouterr()
    with pytest.raises(
        DataError, match=r"^CIFAR-10: [^\n]* found an unreadable train\.parquet \([^\n]*set HERON_DATA[^\n]*$"
    ):
        Cifar10(validation=0).load(0, root=root)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_file_cut_off_or_damaged_inside_is_refused(root):
    path = root / "cifar10" / "train.parquet"
    content = bytearray(path.read_bytes())
    content[100:2000] = bytes(1900)  # the footer still reads, the rows do not
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^CIFAR-10 train: [^\n]*$"):
        Cifar10(validation=0).load(0, root=root)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"found an unreadable train\.parquet"):
        Cifar10(validation=0).load(0, root=root)


@pytest.mark.parametrize("columns", [["img"], ["label"], ["image", "label"], ["img", "labels"]])
def test_wrong_columns_are_refused(root, columns):
    write(root, "test", datasets.Dataset.from_dict({name: [1, 2] for name in columns}))
    with pytest.raises(
        DataError, match=r"^CIFAR-10 test: expected columns 'img' and 'label', found \[[^\n]*\]; use [^\n]*$"
    ):
        Cifar10(validation=0).load(0, root=root)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0, 10], "10 in row 1"),
        ([-1, 0], "-1 in row 0"),
        (["cat", "dog"], "'cat' in row 0"),
        ([0.0, 1.0], r"0\.0 in row 0"),
        ([1, None], "None in row 1"),
        ([True, False], "True in row 0"),
        ([[1], [2]], r"\[1\] in row 0"),
    ],
    ids=str,
)
def test_wrong_labels_are_refused(root, labels, found):
    images = [encoded(p) for p in pictures(2)]
    write(root, "train", datasets.Dataset.from_dict({"img": images, "label": labels}))
    with pytest.raises(
        DataError, match=rf"^CIFAR-10 train: expected integer labels from 0 to 9, found {found}; use [^\n]*$"
    ):
        Cifar10(validation=0).load(0, root=root)


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        ([1, 2], "expected rows of encoded images and labels"),
        (["a.png", "b.png"], "expected an encoded image, found something else in row 0"),
        ([encoded(pictures(1)[0]), None], "expected an encoded image, found something else in row 1"),
        ([encoded(pictures(1)[0][:16])] * 2, "expected images of 32x32, found 32x16 in row 0"),
        ([{"bytes": encoded(pictures(1)[0])["bytes"][:300], "path": None}] * 2, "expected an encoded image"),
        ([], "expected images, found none"),
    ],
    ids=["numbers", "paths", "null", "size", "truncated", "empty"],
)
def test_wrong_images_are_refused(root, images, complaint):
    write(root, "train", datasets.Dataset.from_dict({"img": images, "label": [0] * len(images)}))
    with pytest.raises(DataError, match=rf"^CIFAR-10 train: {complaint}[^\n]*uoft-cs/cifar10$"):
        Cifar10(validation=0).load(0, root=root)


@pytest.mark.parametrize("name", ["train_limit", "test_limit"])
@pytest.mark.parametrize("limit", [-1, -5])
def test_a_limit_below_zero_is_refused(root, name, limit):
    with pytest.raises(ConfigError, match=rf"^data\.{name}: expected an integer of at least 0, found {limit}$"):
        Cifar10(validation=0, **{name: limit})


@pytest.mark.parametrize("validation", [-0.1, 1, float("nan"), 0.01])
def test_a_share_that_cannot_be_had_is_refused(root, validation):
    with pytest.raises((ConfigError, DataError), match=r"^[^\n]*data\.validation[^\n]*$"):
        Cifar10(validation=validation).load(0, root=root)


@pytest.mark.parametrize(("module", "library"), [("datasets", "datasets"), ("PIL", "pillow"), ("PIL.Image", "pillow")])
def test_without_its_libraries(root, module, library, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"'{library}'.*heron-sfl\[images\]"):
        Cifar10(validation=0).load(0, root=root)
