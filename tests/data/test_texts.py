"""SST-2 and tables of the user's own, from small files of every form and a stand-in for the hub."""

import datasets
import pytest

from heron.data import Sst2, Text, Tokenizer
from heron.data.folder import data_folder
from heron.data.text_files import read_texts
from heron.errors import DataError

pytestmark = pytest.mark.usefixtures("no_network")
PAD, START, END = 0, 1, 2
REAL = data_folder("sst2", None).parent


def encode(text):
    return [START, *(ord(letter) for letter in text), END]


def letters(max_length=100, pad=PAD):
    return Tokenizer(encode, END, max_length, "letters", pad, lambda text, count: [*encode(text)[: count - 1], END])


def write(root, **files):
    (root / "sst2").mkdir(exist_ok=True)
    for split, rows in files.items():
        lines = "".join(f"{text}\t{label}\n" for text, label in rows)
        (root / "sst2" / f"{split}.tsv").write_text("sentence\tlabel\n" + lines)


def found(part):
    return sorted(
        ("".join(chr(token) for token in tokens if token > END), int(label))
        for tokens, label in zip(*(tensor.tolist() for tensor in part.tensors), strict=True)
    )


ROWS = [('a "b', 0), ("cd", 1), ("efg", 1), ("h", 0)]


def test_sets_of_sst2_are_its_files(tmp_path):
    write(tmp_path, train=ROWS, dev=ROWS[:2], test=ROWS[2:])
    splits = Sst2(max_length=9).load(0, letters(), tmp_path)
    assert found(splits.train) == sorted(ROWS)
    assert found(splits.validation) == sorted(ROWS[:2])
    assert found(splits.test) == sorted(ROWS[2:])
    assert splits.num_classes == 2
    tokens, labels = splits.train.tensors
    assert tuple(tokens.shape) == (4, 9)
    assert str(tokens.dtype) == str(labels.dtype) == "torch.int64"
    short = tokens[(tokens == ord("h")).any(dim=1)]
    assert short.tolist() == [[START, ord("h"), END, *[PAD] * 6]]


def test_a_test_set_without_labels_is_refused_or_left_alone(tmp_path):
    write(tmp_path, train=[(letter, index % 2) for index, letter in enumerate("abcdefgh")], dev=ROWS, test=[("x", -1)])
    with pytest.raises(DataError, match=r"^SST-2 test: expected labels 0 and 1, found -1, [^\n]*data\.test=dev[^\n]*$"):
        Sst2().load(0, letters(), tmp_path)
    splits = Sst2(test="dev", validation=0.25).load(0, letters(), tmp_path)
    assert found(splits.test) == sorted(ROWS)
    assert len(splits.validation) == 2
    assert sorted(found(splits.train) + found(splits.validation)) == [(x, i % 2) for i, x in enumerate("abcdefgh")]


def test_long_texts_lose_their_end_or_are_refused(tmp_path):
    write(tmp_path, train=[("abcdef", 0)], dev=ROWS, test=ROWS)
    tokens, _ = Sst2(max_length=4).load(0, letters(), tmp_path).train.tensors
    assert tokens.tolist() == [[START, ord("a"), ord("b"), END]]
    with pytest.raises(
        DataError, match=r"at most 4 tokens a text, found 8 in row 2; raise data\.max_length, or [^\n]*$"
    ):
        Sst2(max_length=4, truncate=False).load(0, letters(), tmp_path)
    with pytest.raises(DataError, match=r"data\.max_length of at most 8, the positions of letters, found 9; lower it$"):
        Sst2(max_length=9).load(0, letters(max_length=8), tmp_path)
    with pytest.raises(DataError, match=r"without the token that pads \(97\) and with others, found it in row 2"):
        Sst2().load(0, letters(pad=ord("a")), tmp_path)
    with pytest.raises(DataError, match=r"classifies texts for the data sst2, found none"):
        Sst2().load(0, None, tmp_path)


def test_absent_files_come_from_the_hub(tmp_path, monkeypatch):
    asked = []

    def hub(name, *, split):
        asked.append((name, split))
        return datasets.Dataset.from_dict({"idx": [0, 1], "sentence": ["ab", "c"], "label": [1, 0]})

    monkeypatch.setattr(datasets, "load_dataset", hub)
    splits = Sst2().load(0, letters(), tmp_path)
    assert asked == [("stanfordnlp/sst2", name) for name in ("train", "validation", "test")]
    assert found(splits.test) == [("ab", 1), ("c", 0)]

    def refuse(name, *, split):
        raise ConnectionError

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=r"found no train\.tsv [^\n]*and no usable hub \(ConnectionError\); set HERON"):
        Sst2().load(0, letters(), tmp_path)


def test_a_table_of_ones_own(tmp_path):
    rows = "".join(f'"good, {letter}",4\n"bad {letter}",10\n' for letter in "abcdefghij")
    (tmp_path / "own.csv").write_text("review,stars\n" + rows)
    own = Text(train="own.csv", text_column="review", label_column="stars", max_length=20)
    splits = own.load(0, letters(), tmp_path)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [14, 2, 4]
    everything = found(splits.train) + found(splits.validation) + found(splits.test)
    assert all(label == (0 if text.startswith("good") else 1) for text, label in everything)
    assert len(set(everything)) == 20
    assert found(own.load(1, letters(), tmp_path).test) == found(splits.test)
    turned = Text(**{**vars(own), "classes": "10, 4"}).load(0, letters(), tmp_path)
    assert {(text, 1 - label) for text, label in found(turned.test)} == set(found(splits.test))
    columns = {
        "review": [f"{kind} {x}" for x in "abcdefghij" for kind in ("good,", "bad")],
        "stars": [4, 10] * 10,
    }
    datasets.Dataset.from_dict(columns).to_parquet(str(tmp_path / "own.parquet"))
    stored = Text(**{**vars(own), "train": "own.parquet"}).load(0, letters(), tmp_path)
    assert found(stored.test) == found(splits.test)


@pytest.mark.parametrize(
    ("content", "changes", "complaint"),
    [
        ("", {}, "expected a header and rows, found no row"),
        ("text,label\n", {}, "expected a header and rows, found no row"),
        ("text,class\na,b\n", {}, "expected one column 'label', found text, class"),
        ("text,label\na\n", {}, "expected 2 fields as in row 1, found 1 in row 2"),
        ("text,label\na,b\n ,c\n", {}, "found no text in row 3"),
        ("text,label\n\na,b\n ,c\n", {}, "found no text in row 4"),
        ("text,label\na,b\nc,d\n", {"validation": 0, "test_share": 0.1}, "change data.test_share"),
        ("text,label\na,b\nc,b\n", {}, "expected at least 2 labels, each once, in column 'label'"),
        ("text,label\na,b\nc,d\n", {"classes": "b,e", "validation": 0, "test_share": 0}, "found 'd' in row 3"),
        ("text,label\na,b\nc,d\n", {"classes": "b,b"}, "expected at least 2 labels, each once, in data.classes"),
        ("text,label\na,b\n", {"train": "../own.csv"}, "expected the name of a file in"),
        ("text,label\na,b\n", {"train": "absent.csv"}, "expected the name of a file in"),
        (b"text,label\n\xe9,b\n", {}, "expected UTF-8, found byte 0xe9 in line 2"),
    ],
)
def test_wrong_tables_are_refused_in_one_line(tmp_path, content, changes, complaint):
    (tmp_path / "own.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as refusal:
        Text(**{"train": "own.csv"} | changes).load(0, letters(), tmp_path)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(not (REAL / "sst2" / "train.tsv").is_file(), reason="no SST-2 files; set HERON_DATA")
def test_the_real_files():
    rows = {
        split: read_texts(REAL / "sst2" / f"{split}.tsv", "sentence", "label") for split in ("train", "dev", "test")
    }
    assert [len(found) for found in rows.values()] == [6_920, 872, 1_821]
    assert {row.label for found in rows.values() for row in found} == {"0", "1"}
