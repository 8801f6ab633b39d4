"""The runtime of the clients of one process, as the settings choose it."""

from heron.algorithms import ALGORITHMS
from heron.client.runtime import Runtime
from heron.data import Batch
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.wire.terms import Terms


def make_runtime(terms: Terms, split: SplitModel, criterion: Criterion, examples: Batch) -> Runtime:
    """Make the network that clients learn in, one after the other.

    Args:
        terms: of the run.
        split: the cut network; a runtime of PyTorch trains it in place.
        criterion: mean loss over a batch.
        examples: a few, with which an export is made and checked.

    Raises:
        BundleError: if the clients cannot be exported.
        SplitError: if they cannot be trained this way.
        MissingExtraError: if the runtime is not installed.
    """
    if terms.settings.client.runtime == "torch":
        return ALGORITHMS[terms.algorithm].torch_runtime(split, criterion, terms.settings)
    from heron.client.onnx_runtime import OnnxRuntime
    from heron.export import make_bundle

    bundle, _ = make_bundle(split, terms, examples, criterion=criterion)
    return OnnxRuntime(bundle, terms.settings.client, threads=terms.settings.threads)
