"""The loss of a language model by slices of its vocabulary, against all scores in float64; and hostile slices."""

import json
import shutil
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from heron.algorithms import ALGORITHMS
from heron.arrays import numpy_dtype
from heron.client.onnx_runtime import OnnxRuntime, open_bundle
from heron.client.onnx_runtime.manifest import CLEAN, MANIFEST, SLICE
from heron.client.onnx_runtime.scores import SlicedCrossEntropy, TokenLoss
from heron.client.onnx_runtime.session import Graph
from heron.data import IGNORED, Batch
from heron.data.arrays_file import ArrayExamples
from heron.engines.agreement import agree
from heron.engines.bundle_clients import fitting
from heron.engines.bundle_trial import try_bundle
from heron.errors import BundleError, DataError, HeronError
from heron.export import export_client, make_bundle
from heron.export.scores import slice_graph
from heron.lm.layers import TokenEmbedding, Unembedding
from heron.split import SplitModel, token_cross_entropy
from heron.wire.groups import Settings
from tests.tiers import rows

V, D, LONGEST = 37, 8, 12


def network(*, narrow: bool = False) -> SplitModel:
    """Nothing but an embedding, one layer, and the scores; the table is frozen and shared."""
    torch.manual_seed(0)
    table = nn.Embedding(V, D).requires_grad_(False)
    if narrow:
        table.to(torch.bfloat16)
    client = nn.Sequential(OrderedDict(embedding=TokenEmbedding(table, LONGEST), layer=nn.Linear(D, D)))
    server = nn.Sequential(OrderedDict(layer=nn.Linear(D, D), unembedding=Unembedding(table.weight)))
    auxiliary = nn.Sequential(OrderedDict(layer=nn.Linear(D, D), unembedding=Unembedding(table.weight)))
    return SplitModel(client, server, auxiliary)


def tokens(size: int = 4, length: int = 6) -> Batch:
    draw = np.random.default_rng(0)
    inputs = draw.integers(V, size=(size, length))
    labels = np.roll(inputs, -1, 1)
    labels[:, :2] = IGNORED
    return Batch(inputs, labels)


def write(folder: Path, *, narrow: bool = False) -> Path:
    split, batch = network(narrow=narrow), tokens()
    example = Batch(torch.from_numpy(batch.inputs), torch.from_numpy(batch.labels))
    terms = agree(split, ALGORITHMS["heron"], Settings(threads=1), token_cross_entropy, example)
    export_client(split, terms, example, folder, criterion=token_cross_entropy)
    return folder


@cache
def slice_of(dtype: str) -> bytes:
    return slice_graph(torch.zeros(3, 16, dtype=getattr(torch, dtype)))


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("bundle") / "good")


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_loss_is_that_of_all_scores(dtype: str, scale: float) -> None:
    """Also where exponentials of the scores themselves would overflow."""
    draw = np.random.default_rng(1)
    table_VD = draw.standard_normal((1_000, 16)).astype(numpy_dtype(dtype))
    hidden_bTD = (scale * draw.standard_normal((2, 5, 16))).astype(np.float32)
    labels_bT = draw.integers(1_000, size=(2, 5))
    labels_bT[0, :3] = IGNORED
    mean = TokenLoss(SlicedCrossEntropy(Graph(slice_of(dtype), SLICE, 1), table_VD, IGNORED))
    for hidden_TD, labels_T in zip(hidden_bTD, labels_bT, strict=True):
        mean.add(hidden_TD[None], labels_T[None], 0.5)
    loss = mean.mean()
    scores = hidden_bTD.astype(np.float64) @ table_VD.astype(np.float64).T
    largest = scores.max(-1, keepdims=True)
    sums = np.log(np.exp(scores - largest).sum(-1)) + largest[..., 0]
    counted = labels_bT != IGNORED
    own = np.take_along_axis(scores, np.maximum(labels_bT, 0)[..., None], -1)[..., 0]
    expected = (sums - own)[counted].mean()
    assert loss.dtype == np.float64
    # A score is off by the rounding of its products.
    assert float(loss) == pytest.approx(expected, abs=4 * float(np.spacing(np.float32(np.abs(scores).max()))))


@pytest.mark.parametrize("narrow", rows([False, True], [False]))
def test_a_bundle_on_the_disk_computes_the_loss_of_torch(narrow: bool, tmp_path) -> None:
    folder = write(tmp_path / "bundle", narrow=narrow)
    bundle, split, batch = open_bundle(folder), network(narrow=narrow), tokens(7, LONGEST)
    assert len(bundle.frozen) == 1, "a shared table is there once"
    runtime = OnnxRuntime(bundle, bundle.terms.settings.client)
    assert runtime.theta is not None
    named = dict(nn.ModuleDict({"client": split.client, "auxiliary": split.auxiliary}).named_parameters())
    runtime.theta.load_({name: named[name].detach().numpy() for name in runtime.theta.named_tensors()})
    with torch.no_grad():
        hidden = split.client(torch.from_numpy(batch.inputs))
        expected = token_cross_entropy(split.auxiliary(hidden), torch.from_numpy(batch.labels))
    assert float(runtime.loss(batch, 0)) == pytest.approx(float(expected), rel=3e-7)


class MaskedEmbedding(TokenEmbedding):
    """Token 0 is no token, but padding."""

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        return super().forward(ids_BT) * (ids_BT != 0)[..., None]


@pytest.mark.parametrize(
    ("embedding", "name"),
    [(TokenEmbedding, "client.embedding.tokens.weight"), (MaskedEmbedding, None)],
)
def test_rows_alone_are_read_where_tokens_are_nothing_but_places_in_the_table(embedding, name) -> None:
    split, batch = network(), tokens()
    split.client.embedding.__class__ = embedding
    batch.inputs[0, 1] = 0
    example = Batch(torch.from_numpy(batch.inputs), torch.from_numpy(batch.labels))
    terms = agree(split, ALGORITHMS["heron"], Settings(threads=1), token_cross_entropy, example)
    bundle, _ = make_bundle(split, terms, example, criterion=token_cross_entropy)
    assert bundle.manifest.embedding == name


def test_a_trial_takes_sequences_of_another_length(good) -> None:
    batch = tokens(40, 9)
    trial = try_bundle(open_bundle(good), ArrayExamples(batch.inputs, batch.labels), steps=2)
    assert trial.loss is not None
    with pytest.raises(DataError, match=f"at most {LONGEST} tokens"):
        try_bundle(open_bundle(good), ArrayExamples(*(np.tile(each, (1, 2)) for each in (batch.inputs, batch.labels))))


@pytest.mark.parametrize(
    ("place", "token", "message"),
    [((2, 1), -1, r"expected tokens in \[0, 37\), found -1 to"), ((2, 1), V, rf"found 0 to {V}; check the tokenizer")],
)
def test_all_examples_of_a_device_are_looked_at_before_a_run(place, token, message, good) -> None:
    bundle, batch = open_bundle(good), tokens(3, LONGEST)
    inputs = batch.inputs.copy()
    inputs[0, 0], inputs[place] = 0, token
    with pytest.raises(DataError, match=message):
        fitting(bundle, bundle.terms, ArrayExamples(inputs, batch.labels))


def test_examples_that_are_too_long_are_refused_before_a_run(good) -> None:
    bundle, batch = open_bundle(good), tokens(3, LONGEST + 1)
    with pytest.raises(DataError, match=f"at most {LONGEST} tokens"):
        fitting(bundle, bundle.terms, ArrayExamples(batch.inputs, batch.labels))


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    values = json.loads((folder / MANIFEST).read_bytes())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(values), encoding="utf-8")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def without_slice(values: dict) -> None:
    values["files"] = [file for file in values["files"] if file["name"] != SLICE]


def of_another(values: dict) -> None:
    values["unembedding"] = next(term["name"] for term in values["probed"] if term["name"].endswith("bias"))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no slice": (lambda folder: (folder / SLICE).unlink(), "cannot read .*slice.onnx"),
    "a bit of the slice": (lambda folder: flip(folder / SLICE), "slice.onnx: expected the digest"),
    "swapped": (lambda folder: shutil.copy(folder / CLEAN, folder / SLICE), r"slice.onnx: expected \d+ bytes"),
    "a slice that nobody lists": (lambda folder: edit(folder, without_slice), "expected slice.onnx where"),
    "no unembedding": (
        lambda folder: edit(folder, lambda found: found.update(unembedding=None)),
        "expected slice.onnx",
    ),
    "an unembedding that is none": (
        lambda folder: edit(folder, lambda found: found.update(unembedding="../x")),
        "the unembedding '../x' among its matrices",
    ),
    "an embedding that is none": (
        lambda folder: edit(folder, lambda found: found.update(embedding="../x")),
        "the embedding '../x' among its matrices",
    ),
    "an embedding of no tokens": (
        lambda folder: edit(folder, lambda found: found.update(longest=None)),
        "sequences of tokens where there is an embedding",
    ),
    "an unembedding of one dimension": (lambda folder: edit(folder, of_another), "among its matrices"),
    "labels that all count": (lambda folder: edit(folder, lambda found: found.update(ignored=None)), "that count"),
    "no length": (lambda folder: edit(folder, lambda found: found.update(longest=0)), "manifest.longest"),
    "sequences of pictures": (
        lambda folder: edit(folder, lambda found: found["inputs"].update(shape=[3, 4])),
        "sequences of tokens",
    ),
}


@pytest.mark.parametrize("name", list(DAMAGE))
def test_damage_is_one_line(name: str, good, tmp_path) -> None:
    damage, message = DAMAGE[name]
    bundle = Path(shutil.copytree(good, tmp_path / "bundle"))
    damage(bundle)
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(bundle)
    assert "\n" not in str(caught.value)


def test_a_slice_that_is_another_graph_is_refused(good) -> None:
    """Its digest is right, because whoever wrote it wrote the manifest, too."""
    bundle = open_bundle(good)
    with pytest.raises(BundleError, match=r"slice\.onnx: expected a graph of this client, found another at") as caught:
        SlicedCrossEntropy(Graph(bundle.graphs[CLEAN], SLICE, 1), np.zeros((V, D), np.float32), IGNORED)
    assert "\n" not in str(caught.value)


def test_a_slice_of_another_width_is_refused_when_it_runs(good) -> None:
    sliced = SlicedCrossEntropy(Graph(slice_of("float32"), SLICE, 1), np.zeros((V, D), np.float32), IGNORED)
    with pytest.raises(HeronError, match=r"slice\.onnx: onnxruntime cannot run the graph") as caught:
        sliced.total(np.zeros((2, D), np.float32), np.zeros(2, np.int64))
    assert "\n" not in str(caught.value)
