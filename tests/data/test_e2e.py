"""E2E from small hand-written files, and from the real files where present."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import heron.data.folder
from heron.data import E2E, IGNORED, Prompt, Tokenizer, TokenSequences, load_e2e_prompts, partition
from heron.data.folder import data_folder
from heron.errors import ConfigError, DataError

REAL = data_folder("e2e", None).parent
pytestmark = pytest.mark.usefixtures("no_network")
END = 0
TRAIN = (
    'mr,ref\r\n"name[The Mill], area[riverside]",A mill by the river.\r\n'
    '"name[Aromi], near[The Mill]","Aromi, near\r\nThe Mill"\r\n'
    '"name[The Mill], area[riverside]",Go there.\r\n"eatType[pub], name[Zizzi]",Zizzi is a pub\r\n'
)
DEV = 'mr,ref\n"name[Dev Inn], area[city]",Dev Inn.\n"name[Dev Inn], area[city]",Dev Inn is central.\n'
TEST = (
    "mr,ref\nname[B],B one.\nname[A],A one.\nname[B],B two.\nname[C],C one.\n\nname[B],B one.\n"
    'name[D],"D ""quoted"" é"\n'
)


class Characters:
    """A token for every character; what was tokenised is remembered."""

    def __init__(self):
        self.asked = []

    def __call__(self, text):
        self.asked.append(text)
        return [ord(character) for character in text]


def text_of(tokens):
    return "".join(chr(token) for token in tokens)


def examples_of(sequences):
    """(prompt, reference) of every example, put together again from inputs and labels."""
    found = []
    for inputs, labels in sequences:
        continuation = labels[labels != IGNORED].tolist()
        assert continuation[-1] == END
        whole = text_of(inputs.tolist())
        reference = text_of(continuation[:-1])
        assert whole.endswith(reference)
        found.append((whole.removesuffix(reference), reference))
    return found


@pytest.fixture
def e2e_root(tmp_path):
    write(tmp_path)
    return tmp_path


def write(root, train=TRAIN, dev=DEV, test=TEST):
    (root / "e2e").mkdir(exist_ok=True)
    for name, content in (("train", train), ("dev", dev), ("test", test)):
        encoded = content if isinstance(content, bytes) else content.encode()
        (root / "e2e" / f"{name}.csv").write_bytes(encoded)


def load(root, **changes):
    fields = {"max_length": 200, "validation_limit": 0, "test_limit": 0} | changes
    seed, tokenize, end = fields.pop("seed", 0), fields.pop("tokenize", Characters()), fields.pop("end_token", END)
    return E2E(**fields).load(seed, Tokenizer(tokenize, end, max_length=1000, source="letters"), root)


def test_tokens_and_labels_by_hand(tmp_path):
    write(tmp_path, train="mr,ref\nname[X],An X\n")
    ((inputs, labels),) = load(tmp_path).train
    prompt, reference = [ord(c) for c in "name[X] ||"], [ord(c) for c in " An X"]
    assert inputs.tolist() == prompt + reference
    assert labels.tolist() == [-100] * 9 + [*reference, END]
    assert inputs.dtype == labels.dtype == torch.int64


def test_all_rows_of_the_three_files(e2e_root):
    splits = load(e2e_root)
    mill = "name[The Mill], area[riverside] ||"
    assert sorted(examples_of(splits.train)) == [
        ("eatType[pub], name[Zizzi] ||", " Zizzi is a pub"),
        ("name[Aromi], near[The Mill] ||", " Aromi, near\r\nThe Mill"),
        (mill, " A mill by the river."),
        (mill, " Go there."),
    ]
    inn = "name[Dev Inn], area[city] ||"
    assert sorted(examples_of(splits.validation)) == [(inn, " Dev Inn is central."), (inn, " Dev Inn.")]
    assert Counter(examples_of(splits.test)) == {
        ("name[A] ||", " A one."): 1,
        ("name[B] ||", " B one."): 2,
        ("name[B] ||", " B two."): 1,
        ("name[C] ||", " C one."): 1,
        ("name[D] ||", ' D "quoted" é'): 1,
    }
    assert splits.num_classes == ord("é") + 1
    assert all(type(part) is TokenSequences for part in (splits.train, splits.validation, splits.test))


def test_a_batch_is_padded_with_the_end_token(e2e_root):
    splits = load(e2e_root, end_token=7)
    inputs, labels = splits.train.batch(np.arange(4))
    for row, length in enumerate(splits.train.lengths):
        assert set(inputs[row, length:].tolist()) <= {7}
        assert 7 not in inputs[row, :length]
        assert labels[row, length - 1] == 7
        assert set(labels[row, length:].tolist()) <= {IGNORED}


def test_prompt_and_reference_are_tokenised_for_themselves(e2e_root):
    tokenize = Characters()
    load(e2e_root, tokenize=tokenize)
    assert all(text.endswith(" ||") or (text.startswith(" ") and "||" not in text) for text in tokenize.asked)


def test_groups_are_restaurants_and_follow_the_examples(e2e_root):
    for seed in range(6):
        splits = load(e2e_root, seed=seed)
        assert splits.groups.dtype == np.int64
        for (prompt, _), group in zip(examples_of(splits.train), splits.groups, strict=True):
            assert f"name[{['Aromi', 'The Mill', 'Zizzi'][group]}]" in prompt
    assert load(e2e_root, train_limit=3, seed=seed).groups.tolist() == splits.groups[:3].tolist()


def rows(num_rows):
    return "mr,ref\n" + "".join(f"name[{i}],R{i}\n" for i in range(num_rows))


@pytest.mark.parametrize(("split", "limit"), [("train", "train"), ("validation", "validation"), ("test", "test")])
def test_a_limit_takes_a_random_sample_that_is_part_of_a_larger_one(tmp_path, split, limit):
    write(tmp_path, rows(50), rows(50), rows(50))

    def found(limit_, seed=0):
        return examples_of(getattr(load(tmp_path, seed=seed, **{f"{limit}_limit": limit_}), split))

    everything = found(0)
    assert len(set(everything)) == 50
    assert found(20) == everything[:20]
    assert found(99) == everything
    in_file_order = [(f"name[{i}] ||", f" R{i}") for i in range(50)]
    assert everything != in_file_order  # by chance once in 50!
    assert set(found(20)) != set(in_file_order[:20])
    assert found(20) == found(20)
    assert (found(20, seed=1) == found(20)) == (split != "train")  # test and validation are the same for every run


@pytest.mark.parametrize("name", ["train_limit", "validation_limit", "test_limit"])
@pytest.mark.parametrize("limit", [-1, -5])
def test_limits_out_of_range_are_refused(e2e_root, name, limit):
    with pytest.raises(ConfigError, match=rf"^data\.{name}: expected an integer of at least 0, found {limit}$"):
        load(e2e_root, **{name: limit})


@pytest.mark.parametrize(("split", "row"), [("train", 3), ("dev", 3), ("test", 3)])
def test_the_longest_row_must_fit(tmp_path, split, row):
    long = "mr,ref\nname[X],short\nname[X],this is the long one\nname[X],not as long\n"
    write(tmp_path, **{"train": rows(2), "dev": rows(2), "test": rows(2), split: long})
    num_tokens = len("name[X] || this is the long one") + 1
    longest = load(tmp_path, max_length=num_tokens - 1)
    assert max(part.lengths.max() for part in (longest.train, longest.validation, longest.test)) == num_tokens - 1
    with pytest.raises(
        DataError,
        match=rf"^E2E {split}: expected at most {num_tokens - 1} tokens a row, found {num_tokens} in row {row}; "
        rf"raise data\.max_length to at least {num_tokens - 1}$",
    ):
        load(tmp_path, max_length=num_tokens - 2)


def test_a_max_length_out_of_range_is_refused(e2e_root):
    with pytest.raises(ConfigError, match=r"^data\.max_length: expected an integer in \[2, 1048576\), found 0$"):
        load(e2e_root, max_length=0)


def test_prompts_by_hand(e2e_root):
    assert load_e2e_prompts(root=e2e_root) == [
        Prompt("name[B] ||", ("B one.", "B two.", "B one.")),
        Prompt("name[A] ||", ("A one.",)),
        Prompt("name[C] ||", ("C one.",)),
        Prompt("name[D] ||", ('D "quoted" é',)),
    ]
    (inn,) = load_e2e_prompts("dev", root=e2e_root)
    assert inn == Prompt("name[Dev Inn], area[city] ||", ("Dev Inn.", "Dev Inn is central."))


def test_a_limit_of_prompts_is_a_sample_in_the_files_order(tmp_path):
    write(tmp_path, test=rows(50))
    everything = load_e2e_prompts("test", root=tmp_path)
    some, fewer = (load_e2e_prompts("test", limit, tmp_path) for limit in (20, 5))
    assert (len(everything), len(some), len(fewer)) == (50, 20, 5)
    assert some == [prompt for prompt in everything if prompt in some]
    assert some != everything[:20]
    assert fewer == [prompt for prompt in some if prompt in fewer]
    assert load_e2e_prompts("test", 99, tmp_path) == everything


def test_prompts_need_their_own_file_only(e2e_root):
    (e2e_root / "e2e" / "train.csv").unlink()
    assert len(load_e2e_prompts("test", 2, e2e_root)) == 2


def test_prompts_refuse_other_splits_and_limits(e2e_root):
    with pytest.raises(DataError, match=r"^expected prompts of dev or test, found 'train'; [^\n]*$"):
        load_e2e_prompts("train", root=e2e_root)
    with pytest.raises(DataError, match=r"^expected a limit of at least 0, found -1; [^\n]*$"):
        load_e2e_prompts("dev", -1, e2e_root)


def test_a_byte_order_mark_and_blank_lines_are_taken(tmp_path):
    write(tmp_path, test=b"\xef\xbb\xbfmr,ref\r\n\r\nname[A],One\r\n\r\n")
    assert load_e2e_prompts("test", root=tmp_path) == [Prompt("name[A] ||", ("One",))]


def test_the_folder_is_found_by_the_environment_variable(e2e_root, monkeypatch, tmp_path):
    monkeypatch.setenv("HERON_DATA", str(e2e_root))
    assert len(load(None).train) == 4
    monkeypatch.delenv("HERON_DATA")
    monkeypatch.setattr(heron.data.folder, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    with pytest.raises(DataError, match=r"cache/data/e2e, found no train\.csv and no dev\.csv and no test\.csv; "):
        load(None)


@pytest.mark.parametrize("absent", ["train", "dev", "test"])
def test_absent_files_are_told_with_their_folder_and_source(e2e_root, absent):
    (e2e_root / "e2e" / f"{absent}.csv").unlink()
    with pytest.raises(
        DataError,
        match=rf"^E2E: expected train\.csv, dev\.csv, test\.csv in {e2e_root / 'e2e'}, found no {absent}\.csv; "
        r"get [^\n]*tuetschek/e2e-dataset[^\n]*HERON_DATA[^\n]*$",
    ):
        load(e2e_root)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "expected a header mr,ref and rows, found no row; "),
        (b"mr,ref\n", "expected a header mr,ref and rows, found no row; "),
        (b"mr,reference\nname[A],One\n", r"expected the columns mr,ref in row 1, found 'mr,reference'; "),
        (b"ref,mr\nOne,name[A]\n", r"expected the columns mr,ref in row 1, found 'ref,mr'; "),
        (b"name[A],One\n", r"expected the columns mr,ref in row 1, found "),
        (b"mr,ref\nname[A],One\nname[A]\n", "expected 2 fields, mr and ref, found 1 in row 3; "),
        (b"mr,ref\nname[A],One, and a comma\n", "expected 2 fields, mr and ref, found 3 in row 2; "),
        (b'mr,ref\nname[A],"a\nb"\nname[A]\n', "expected 2 fields, mr and ref, found 1 in row 3; "),
        (b"mr,ref\nname[A], \n", "expected 2 fields, mr and ref, found no ref in row 2; "),
        (b"mr,ref\n,One\n", "expected 2 fields, mr and ref, found no mr in row 2; "),
        (b"mr,ref\nname[A],One\nname[A],caf\xe9\n", "expected UTF-8, found byte 0xe9 in line 3; "),
        (b"\xef\xbb\xbfmr,ref\n\xe9,One\n", "expected UTF-8, found byte 0xe9 in line 2; "),
        (b'mr,ref\nname[A],One\nname[A],"Two\nname[A],Three\n', "expected CSV, found a row 3 that does not read "),
        (b'mr,ref\nname[A],"One"s\n', "expected CSV, found a row 2 that does not read "),
    ],
)
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_malformed_files_are_refused_with_file_and_row(tmp_path, split, content, complaint):
    write(tmp_path, **{split: content})
    with pytest.raises(DataError, match=rf"^{tmp_path}/e2e/{split}\.csv: {complaint}[^\n]*$"):
        load(tmp_path)


def test_a_file_that_cannot_be_read_is_told(e2e_root, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"train\.csv: expected a file that can be read \(Permission denied\); [^\n]*$"):
        load(e2e_root)


@pytest.mark.parametrize("mr", ["eatType[pub]", "surname[X]", "name X"])
def test_a_training_row_without_a_restaurant_is_refused(tmp_path, mr):
    write(tmp_path, train=f"mr,ref\nname[A],One\n{mr},Two\n")
    with pytest.raises(DataError, match=r"^E2E train: expected name\[\.\.\.\] in the mr, found none in row 3; [^\n]*$"):
        load(tmp_path)


needs_real_files = pytest.mark.skipif(
    not all((REAL / "e2e" / f"{name}.csv").is_file() for name in ("train", "dev", "test")),
    reason=f"no E2E files in {REAL / 'e2e'}; set HERON_DATA",
)


@needs_real_files
def test_the_real_files():
    splits = load(REAL, max_length=700)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [42_061, 4_672, 4_693]
    assert np.unique(splits.groups).tolist() == list(range(34))
    shares = partition("natural", splits.groups, num_clients=10, alpha=1.0, seed=0, groups=splits.groups)
    sizes = [len(share) for share in shares]
    assert sum(sizes) == 42_061
    assert max(sizes) < 1.2 * min(sizes)


@needs_real_files
@pytest.mark.parametrize(("split", "num_prompts", "num_rows"), [("dev", 547, 4_672), ("test", 630, 4_693)])
def test_the_real_prompts(split, num_prompts, num_rows):
    prompts = load_e2e_prompts(split, root=REAL)
    assert len({prompt.text for prompt in prompts}) == len(prompts) == num_prompts
    assert sum(len(prompt.references) for prompt in prompts) == num_rows
    assert all(prompt.text.endswith("] ||") for prompt in prompts)
