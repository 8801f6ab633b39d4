"""The clients' side of a run on a device without PyTorch: one client in an exported network, with its own examples."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.algorithms import ALGORITHMS
from heron.arrays import to_host
from heron.client.onnx_runtime.bundle import Bundle, check_terms
from heron.client.onnx_runtime.manifest import Manifest
from heron.client.onnx_runtime.runtime import OnnxRuntime
from heron.client.onnx_runtime.tokens import check_tokens
from heron.data.arrays_file import ArrayExamples
from heron.data.batch import IGNORED
from heron.engines.bundle_examples import check_examples
from heron.engines.clients import Clients
from heron.errors import BundleError, DataError
from heron.privacy.vault import Vault
from heron.wire.learning import with_fixed
from heron.wire.terms import Terms

_KERNELS_OF_TENSORS = ("torch", "triton")
_AT_ONCE = 256
"""Examples that are looked at together, in little memory."""


def bundle_clients(
    terms: Terms, bundle: Bundle, client_id: int, examples: ArrayExamples, vault: Vault | None = None
) -> Clients:
    """Build the clients' side of a run with the one client of a device.

    Args:
        terms: of the run, as they were received.
        bundle: the exported client.
        client_id: number of the device's client, from 0.
        examples: the device's own; a reply says how many there are.
        vault: keeps the secret of the device; None where the run needs none.

    Raises:
        BundleError: if the run's clients are others than that of the bundle, naming what differs.
        DataError: if the examples do not fit the client.
        MissingExtraError: if onnxruntime is not installed.
    """
    check_run(bundle, terms)
    examples = fitting(bundle, terms, examples)
    # All kernels give the same bits, and those of tensors are not here; nor is the run's device.
    kernel = terms.settings.client.kernel
    fixed = {"device": "cpu", "client": {"kernel": "auto" if kernel in _KERNELS_OF_TENSORS else kernel}}
    terms = replace(terms, settings=with_fixed(terms.settings, fixed))
    runtime = OnnxRuntime(bundle, terms.settings.client, threads=terms.settings.threads)
    return Clients(terms, ALGORITHMS[terms.algorithm], runtime, {client_id: examples}, vault)


def check_run(bundle: Bundle, terms: Terms) -> None:
    """Refuse the terms of a run whose clients are others than that of a bundle.

    Args:
        bundle: the exported client.
        terms: of the run.

    Raises:
        BundleError: naming what differs.
    """
    check_terms(bundle.manifest, terms)
    if terms.algorithm not in ALGORITHMS:
        raise BundleError(
            f"expected an algorithm of {', '.join(ALGORITHMS)}, found {terms.algorithm[:40]!r}; export the bundle again"
        )
    if terms.settings.estimator.scheme == "jvp":
        raise BundleError("expected estimator.scheme one_sided or central for a client of a bundle, found jvp; set it")
    run, export = terms.network, bundle.terms.network
    odd = sorted(key for key in run.keys() | export.keys() if run.get(key) != export.get(key))
    if odd:
        expected, found = (repr(section.get(odd[0]))[:80] for section in (run, export))
        raise BundleError(
            f"expected a bundle of the run's network with split.{odd[0][:80]} {expected}, found {found}; export it "
            f"for this run"
        )
    seeds = (terms.settings.seed, bundle.terms.settings.seed)
    if bundle.manifest.frozen and seeds[0] != seeds[1]:  # what never changes may have been drawn
        raise BundleError(
            f"expected a bundle of the run's seed {seeds[0]}, because it holds parameters that stay as they began, "
            f"found {seeds[1]}; export it with --set seed={seeds[0]}"
        )


def fitting(bundle: Bundle, terms: Terms, examples: ArrayExamples) -> ArrayExamples:
    """Return examples with labels of the type that is uploaded, or refuse them.

    Args:
        bundle: the exported client.
        terms: of the run, or of the export.
        examples: a device's own.

    Raises:
        DataError: naming shape, element type, a sequence that is too long, an unknown token, an input that is not
            finite, or a label that is no class.
    """
    check_examples(bundle.manifest, examples.batch(np.arange(1), seed=0))
    if bundle.manifest.longest is not None:
        check_tokens(bundle.manifest, to_host(examples.batch(np.arange(len(examples)), seed=0).inputs))
    if terms.pairs != "none" and len(examples) == 1:
        raise DataError("expected at least 2 examples, because the network does not work with one, found 1; use more")
    _check_finite(examples.inputs)
    _check_labels(terms, examples, bundle.manifest)
    labels = examples.labels.astype(terms.upload.labels_dtype, copy=False)
    return ArrayExamples(examples.inputs, labels, pixels=examples.pixels)


def _check_finite(inputs: NDArray[Any]) -> None:
    """Refuse numbers that are none, as tables do: a loss of theirs would be none, either."""
    if inputs.dtype.kind != "f":
        return
    for start in range(0, len(inputs), _AT_ONCE):
        odd = ~np.isfinite(inputs[start : start + _AT_ONCE]).reshape(-1, inputs[0].size).all(axis=1)
        if odd.any():
            raise DataError(
                f"expected finite inputs, found NaN or infinity in example {start + int(odd.argmax())}; repair it or "
                f"leave it out"
            )


def _check_labels(terms: Terms, examples: ArrayExamples, manifest: Manifest) -> None:
    """Refuse integer labels that are no classes: the server would refuse their uploads, or none could be shown.

    A graph of cross-entropy takes a negative label for a class from the end. Without a number of classes in the terms,
    it is not known which labels are too large; with one, servers leave out `IGNORED`. Labels of a criterion of the
    user's own may be anything.
    """
    labels, num_classes = examples.labels, terms.upload.num_classes
    if labels.dtype.kind not in "iu" or not (num_classes or manifest.has_classes):
        return
    left_out = IGNORED if num_classes else manifest.ignored
    counted = labels if terms.settings.privacy.label_budget else labels[labels != left_out]
    odd = counted[(counted < 0) | (counted >= num_classes if num_classes else False)]
    if len(odd):
        allowed = f"from 0 to {num_classes - 1}" if num_classes else "of at least 0"
        raise DataError(
            f"expected labels {allowed}, found {odd[0]}; number the classes from 0, or leave these examples out"
        )
