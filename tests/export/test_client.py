"""Exported clients compute what PyTorch computes; what cannot be exported is refused by name."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.arrays import to_host
from heron.client.onnx_runtime import open_bundle
from heron.client.onnx_runtime.manifest import CLEAN, PROBE
from heron.errors import BundleError
from heron.export import check, export_client, passes
from heron.lm.masked import EncoderEmbedding
from heron.split import SplitModel, linear_head
from tests.export.clients import CLASSES, batch, exported, norm_net, terms_of


@pytest.mark.parametrize(
    ("algorithm", "changes", "num_probed", "num_trained"),
    [
        ("heron", {}, 9, 0),
        ("heron", {"exact": 1}, 7, 2),
        ("heron", {"exact": 3}, 3, 6),
        ("heron", {"exact": 2, "estimator": {"probes": 0}}, 0, 4),
        ("heron", {"exact": "all"}, 0, 9),
        ("cse_fsl", {}, 0, 9),
        ("ho_sfl", {}, 7, 0),
        ("hosl", {}, 7, 0),
        ("frozen", {}, 0, 0),
    ],
)
def test_an_export_has_passed_the_comparison(algorithm: str, changes: dict, num_probed: int, num_trained: int) -> None:
    bundle = exported(norm_net(), algorithm, **changes)
    manifest = bundle.manifest
    assert (len(manifest.probed), len(manifest.trained)) == (num_probed, num_trained)
    assert len(manifest.buffers) == 6
    assert [(layer.layer, layer.momentum) for layer in manifest.statistics] == [("client.1", 0.1), ("client.4", None)]
    assert set(bundle.graphs) == ({CLEAN, PROBE} if num_probed and num_trained else {CLEAN})
    num_held = 7 if manifest.upload and algorithm in {"ho_sfl", "hosl", "frozen"} else 9
    assert len(bundle.frozen) == num_held - num_probed - num_trained


def test_the_network_stays_as_it_is() -> None:
    split = norm_net()
    before = {name: tensor.clone() for name, tensor in split.state_dict().items()}
    exported(split, exact=1)
    assert isinstance(split.client[1], nn.BatchNorm2d)
    assert split.client[2].inplace
    for name, tensor in split.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_batch_norm_with_frozen_statistics_would_be_found(monkeypatch) -> None:
    """The comparison fails where the export is wrong in the way that exporters are."""
    monkeypatch.setattr(passes.ClientPasses, "_replace_layers", lambda self: self.module.eval())
    with pytest.raises(
        BundleError, match=r"computes something else than PyTorch|of this client, found another at 'mean/client.1'"
    ) as caught:
        exported(norm_net())
    assert "\n" not in str(caught.value)


def test_a_wrong_gradient_would_be_found(monkeypatch) -> None:
    monkeypatch.setattr(check, "_TOLERANCE", 1e-12)
    with pytest.raises(BundleError, match="differs by"):
        exported(norm_net(), exact=1)


def dropping() -> SplitModel:
    split = norm_net()
    split.client.append(nn.Dropout(0.5))
    return split


class Encoder(EncoderEmbedding):
    """The kind of layer alone."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def encoding() -> SplitModel:
    split = norm_net()
    split.client.append(Encoder())
    return split


def pooling() -> SplitModel:
    torch.manual_seed(0)
    client = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.AdaptiveMaxPool2d(5))
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(100, CLASSES)), linear_head((4, 5, 5), CLASSES))


@pytest.mark.parametrize(
    ("split", "algorithm", "changes", "message"),
    [
        (dropping, "heron", {}, "without randomness, found Dropout"),
        (norm_net, "heron", {"estimator": {"scheme": "jvp"}}, "found jvp"),
        (norm_net, "sflv1", {}, "sflv1: expected clients that learn from probes or from a loss of their own"),
        (norm_net, "fedavg", {}, "fedavg: expected clients that hold a part of the network"),
        (lambda: norm_net(groups=2), "heron", {"exact": 3}, "groups=2"),
        (pooling, "heron", {"exact": 2}, "max_pool"),
        (encoding, "heron", {}, "found an encoder of texts"),
    ],
)
def test_refuses_in_one_line(split, algorithm: str, changes: dict, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        exported(split(), algorithm, **changes)
    assert "\n" not in str(caught.value)


def test_a_bundle_on_the_disk_is_the_one_in_memory(tmp_path) -> None:
    split = norm_net()
    split.client[0].requires_grad_(False)
    terms = terms_of(split, "heron", exact=1)
    manifest = export_client(split, terms, batch(), tmp_path / "bundle", criterion=cross_entropy)
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest == manifest
    assert bundle.terms == terms
    np.testing.assert_array_equal(bundle.frozen["client.0.weight"], to_host(split.client[0].weight))
    for path in (tmp_path / "bundle").iterdir():
        content = path.read_bytes()
        assert b"/home" not in content
        assert b".py" not in content, "no file or line of code is named"
