"""A linear head without PyTorch: losses and gradients of single examples, and what a private step releases."""

from dataclasses import replace
from functools import cache
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.arrays import to_host
from heron.client.example_gradients import ExampleGradients
from heron.client.onnx_runtime import Bundle, OnnxRuntime
from heron.client.onnx_runtime.linear_head import LinearExactPart
from heron.client.onnx_runtime.manifest import decode_manifest, encode_manifest
from heron.client.private import PrivateHeadClient
from heron.client.runtime import Orders
from heron.data import Batch
from heron.errors import BundleError, ConfigError
from heron.export.check import check_export
from heron.export.passes import ClientPasses
from heron.privacy import Secret, VectorMechanism
from heron.privacy.vault import Vault
from heron.seeds import StepKey
from heron.split import SplitModel
from heron.wire.groups import Probes
from heron.wire.learning import Learning
from heron.wire.privacy import Privacy
from tests.export.clients import CLASSES, batch, exported, group_net
from tests.settings import changed

CLIP, HEAD_CLIP, MU = 4.0, 0.5, 1e-2
PRIVATE = {
    "privacy": Privacy(noise=1.0, clip=CLIP, exact_clip=HEAD_CLIP),
    "estimator": Probes(MU, 3),
    "local_steps": 1,
    "optimizer": "sgd",
}


@cache
def bundle_of(probes: int) -> Bundle:
    """An export of `group_net`, which has passed the comparison with PyTorch."""
    return exported(group_net(), exact=1, **PRIVATE | {"estimator": Probes(MU, probes)})


def learners(probes: int = 3, micro_batch: int = 0) -> list[PrivateHeadClient]:
    """The same client in both runtimes, at the same parameters."""
    bundle, row = bundle_of(probes), ALGORITHMS["heron"]
    settings = changed(bundle.terms.settings, micro_batch=micro_batch)
    both = (row.torch_runtime(group_net(), cross_entropy, settings), OnnxRuntime(bundle, settings.client))
    found = [row.client(runtime, Learning(row.learning(settings).settings, vault=vault())) for runtime in both]
    model = {name: to_host(array).copy() for name, array in found[0].model().items()}
    for learner in found:
        learner.load({name: array.copy() for name, array in model.items()}, {})
    return found


def vault() -> Vault:
    return Vault(Secret(bytes(32)))


def examples() -> Batch:
    """Ten, of which one has a label that does not count."""
    found = batch(10)
    found.labels[4] = -100
    return found


@pytest.mark.parametrize("micro_batch", [0, 3])
def test_losses_and_gradients_of_single_examples_are_pytorchs(micro_batch: int) -> None:
    ours, lean = (learner.runtime for learner in learners(micro_batch=micro_batch))
    assert isinstance(lean.exact, ExampleGradients)
    np.testing.assert_allclose(lean.losses(examples(), 0), to_host(ours.losses(examples(), 0)), rtol=1e-5, atol=1e-6)
    found, expected = (
        np.concatenate([to_host(piece) for piece in runtime.exact.example_gradients(examples())])
        for runtime in (lean, ours)
    )
    assert found.shape == (10, 24 * CLASSES + CLASSES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert not found[4].any()


@pytest.mark.parametrize("probes", [3, 0])
def test_a_private_step_releases_the_same_to_rounding(probes: int) -> None:
    """The sums before the noise, in units of the clip; a loss rounds by some ulp, which a probe divides by mu."""
    found: list[list[np.ndarray]] = []
    both = learners(probes)
    release = VectorMechanism.release
    for learner in both:
        sums: list[np.ndarray] = []

        def noted(self, total, normals, sums=sums):
            sums.append(total / 2**30)
            return release(self, total, normals)

        with patch.object(VectorMechanism, "release", noted):
            step = learner.step(examples(), StepKey(5, 0, 0, 0))
            next(step)
            with pytest.raises(StopIteration):
                step.send(None)
        found.append(sums)
    assert len(found[0]) == len(found[1]) == (2 if probes else 1)
    scale = 10 * 8 * float(np.spacing(np.float32(4.0))) / MU / CLIP
    for one, other, tolerance in zip(*found, [scale, 1e-5] if probes else [1e-5], strict=True):
        assert np.abs(one).max() > 100 * tolerance
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)
    for name, array in both[1].model().items():
        np.testing.assert_allclose(to_host(array), to_host(both[0].model()[name]), atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_example_that_is_not_finite_changes_no_other(value: float) -> None:
    lean = learners()[1].runtime
    plain = np.concatenate(list(lean.exact.example_gradients(examples())))
    broken = examples()
    broken.inputs[2] = value
    found = np.concatenate(list(lean.exact.example_gradients(broken)))
    others = np.arange(10) != 2
    np.testing.assert_array_equal(found[others], plain[others])
    assert not np.isfinite(found[2]).all()
    assert np.isfinite(lean.losses(broken, 0)[others]).all()


def has_formula(split: SplitModel, exact: int = 1) -> bool:
    passes = ClientPasses(split, cross_entropy, "auxiliary", Orders(exact, probes=True))
    return passes.has_linear_head(batch().inputs, batch().labels)


def test_heads_that_are_one_linear_layer_trained_whole_have_a_formula() -> None:
    deep, frozen, plain = group_net(), group_net(), group_net()
    deep.auxiliary.add_module("end", nn.Tanh())
    frozen.auxiliary[-1].bias.requires_grad_(False)
    assert [has_formula(split) for split in (deep, frozen, plain)] == [False, False, True]
    assert not has_formula(plain, exact=0)
    assert not has_formula(plain, exact=2)
    assert bundle_of(3).manifest.linear_head


def test_a_head_that_is_no_formula_is_refused_by_name() -> None:
    bundle = bundle_of(3)
    other = replace(bundle, manifest=replace(bundle.manifest, linear_head=False))
    runtime, learning = OnnxRuntime(other, bundle.terms.settings.client), Learning(bundle.terms.settings, vault=vault())
    with pytest.raises(ConfigError, match=r"expected a head of one linear layer under cross-entropy.*client\.exact=0"):
        ALGORITHMS["heron"].client(runtime, learning)


def test_a_manifest_that_claims_a_linear_head_has_its_weight_first() -> None:
    manifest = bundle_of(3).manifest
    assert decode_manifest(encode_manifest(manifest)) == manifest
    wrong = replace(manifest, trained=manifest.trained[::-1])
    with pytest.raises(BundleError, match="expected the weight of a linear head first, then its bias"):
        decode_manifest(encode_manifest(wrong))


def test_a_formula_that_is_another_than_pytorchs_is_found(monkeypatch) -> None:
    bundle = bundle_of(3)
    monkeypatch.setattr(LinearExactPart, "_bias", property(lambda _: None))
    with pytest.raises(BundleError, match="single examples of 6 examples differs"):
        check_export(bundle, group_net(), bundle.terms, batch(), cross_entropy)


def test_losses_are_shifted_by_their_largest_score() -> None:
    lean = learners()[1].runtime
    with torch.no_grad():
        large = examples()
        large.inputs[:] *= 1e4
    assert np.isfinite(lean.losses(large, 0)).all()
