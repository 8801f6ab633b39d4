"""A bundle is hostile until it has been read: one clear line each, and nothing loaded."""

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from heron.client.onnx_runtime import open_bundle
from heron.client.onnx_runtime.bundle import check_terms
from heron.client.onnx_runtime.graph_check import check_graph
from heron.client.onnx_runtime.manifest import CLEAN, MANIFEST, OPSET, decode_manifest, encode_manifest
from heron.client.onnx_runtime.session import Graph
from heron.errors import BundleError
from heron.export import export_client
from tests.export.clients import batch, norm_net, terms_of


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A bundle with all kinds of files."""
    split = norm_net()
    split.client[0].requires_grad_(False)
    folder = tmp_path_factory.mktemp("bundle") / "good"
    export_client(split, terms_of(split, "heron", exact=1), batch(), folder)
    return folder


@pytest.fixture
def bundle(good, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(good, tmp_path / "bundle"))


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    values = json.loads((folder / MANIFEST).read_bytes())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(values), encoding="utf-8")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "cannot read .*manifest.json"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "cannot read .*manifest.json"),
    "no graph": (lambda folder: (folder / CLEAN).unlink(), "cannot read .*clean.onnx"),
    "a bit of a graph": (lambda folder: flip(folder / CLEAN), "clean.onnx: expected the digest"),
    "a bit of the weights": (
        lambda folder: flip(folder / "frozen.safetensors"),
        "frozen.safetensors: expected",
    ),
    "a bit of the terms": (lambda folder: flip(folder / "terms.json"), "terms.json: expected the digest"),
    "half a graph": (lambda folder: truncate(folder / CLEAN), r"clean.onnx: expected \d+ bytes, found \d+"),
    "swapped graphs": (lambda folder: shutil.copy(folder / "probe.onnx", folder / CLEAN), "clean.onnx: expected"),
    "another version": (lambda folder: edit(folder, lambda found: found.update(version=1)), "version 3, found 1"),
    "another opset": (lambda folder: edit(folder, lambda found: found.update(opset=18)), "opset 20, found 18"),
    "a name outside": (
        lambda folder: edit(folder, lambda found: found["files"][0].update(name="../clean.onnx")),
        "one of clean.onnx, probe.onnx",
    ),
    "a size that is none": (
        lambda folder: edit(folder, lambda found: found["files"][0].update(size=-1)),
        "found -1",
    ),
    "a file twice": (
        lambda folder: edit(folder, lambda found: found["files"].append(found["files"][0])),
        "every name of its files once",
    ),
    "an unknown key": (lambda folder: edit(folder, lambda found: found.update(run="rm")), "'run' unknown"),
    "no files": (lambda folder: edit(folder, lambda found: found.update(files=[])), "expected clean.onnx"),
    "another tensor": (
        lambda folder: edit(folder, lambda found: found["probed"][0].update(name="client.evil")),
        "with the run's tensors, found another 'client.(evil|1.weight)'",
    ),
    "statistics of nothing": (
        lambda folder: edit(folder, lambda found: found["statistics"][0].update(layer="server")),
        "running statistics of 'server'",
    ),
    "a frozen array of another shape": (
        lambda folder: edit(folder, lambda found: found["frozen"][0].update(shape=[4, 2, 9])),
        "expected the arrays of the manifest",
    ),
    "text": (lambda folder: (folder / MANIFEST).write_text("{", encoding="utf-8"), "damaged bytes"),
    "deep nesting": (lambda folder: (folder / MANIFEST).write_text("[" * 10**5, encoding="utf-8"), "damaged bytes"),
}


def test_a_good_bundle_opens(good) -> None:
    assert list(open_bundle(good).frozen) == ["client.0.weight"]


@pytest.mark.parametrize("name", list(DAMAGE))
def test_damage_is_one_line(name: str, bundle) -> None:
    damage, message = DAMAGE[name]
    damage(bundle)
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(bundle)
    assert "\n" not in str(caught.value)


def test_mutated_manifests_raise_nothing_else(good) -> None:
    """10,000 manifests with bytes changed, dropped and doubled."""
    content, draw = (good / MANIFEST).read_bytes(), random.Random(0)
    num_read = 0
    for _ in range(10_000):
        mutated = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(mutated))
            action = draw.randrange(3)
            if action == 0:
                mutated[place] = draw.randrange(256)
            elif action == 1:
                del mutated[place : place + draw.randint(1, 20)]
            else:
                mutated[place:place] = mutated[place : place + draw.randint(1, 20)]
        with suppress(BundleError):
            decode_manifest(bytes(mutated))
            num_read += 1
    assert num_read < 5_000


def test_mutated_graphs_raise_nothing_else(good) -> None:
    content, draw = (good / CLEAN).read_bytes(), random.Random(0)
    for _ in range(3_000):
        mutated = bytearray(content)
        mutated[draw.randrange(len(mutated))] = draw.randrange(256)
        del mutated[draw.randrange(len(mutated)) :]
        with suppress(BundleError):
            check_graph(bytes(mutated), CLEAN, OPSET)


def graph(change) -> bytes:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    weight = helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [2.0])
    body = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [value], [result], [weight])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    change(onnx, model)
    return model.SerializeToString()


def outside(onnx, model) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("float_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")


def outside_in_a_branch(onnx, model) -> None:
    node = model.graph.node.add(op_type="Constant", output=["c"])
    tensor = onnx.TensorProto(dims=[1], data_type=1, data_location=1)
    node.attribute.append(onnx.helper.make_attribute("value", tensor))


def test_a_plain_graph_passes_and_runs() -> None:
    content = graph(lambda onnx, model: None)
    check_graph(content, CLEAN, OPSET)
    assert Graph(content, CLEAN, 1).outputs == ("y",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (outside, "found one in another file"),
        (outside_in_a_branch, "found one in another file"),
        (lambda onnx, model: setattr(model.graph.node[0], "domain", "evil"), "'Mul' of another library"),
        (lambda onnx, model: setattr(model.opset_import[0], "version", 12), "version 20, found 12"),
        (lambda onnx, model: model.functions.add(name="f", domain="x"), "one that the graph defines"),
    ],
)
def test_graphs_that_reach_outside_are_refused(change, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        check_graph(graph(change), CLEAN, OPSET)
    assert "\n" not in str(caught.value)


def test_an_unknown_operator_is_refused() -> None:
    content = graph(lambda onnx, model: setattr(model.graph.node[0], "op_type", "Evil"))
    with pytest.raises(BundleError, match="onnxruntime refuses the graph") as caught:
        Graph(content, CLEAN, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda terms: replace(terms, algorithm="cse_fsl"), "algorithm cse_fsl, found heron"),
        (lambda terms: replace(terms, tensors=terms.tensors[1:]), "with the run's tensors"),
        (lambda terms: replace(terms, upload=replace(terms.upload, smashed=(1,))), r"upload.smashed \(1,\), found"),
    ],
)
def test_terms_of_another_run_are_refused(good, change, message: str) -> None:
    bundle = open_bundle(good)
    with pytest.raises(BundleError, match=message) as caught:
        check_terms(bundle.manifest, change(bundle.terms))
    assert "\n" not in str(caught.value)


def test_a_manifest_is_read_as_it_was_written(good) -> None:
    manifest = open_bundle(good).manifest
    assert decode_manifest(encode_manifest(manifest)) == manifest
