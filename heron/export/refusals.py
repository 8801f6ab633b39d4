"""Clients that cannot be exported, refused before a graph is made."""

from torch import Tensor, nn

from heron.algorithms import ALGORITHMS
from heron.arrays import dtype_name
from heron.errors import BundleError
from heron.lm.masked import EncoderEmbedding
from heron.split import is_stochastic
from heron.split.criterion import Criterion, MeanLoss
from heron.wire.terms import Terms

_EXPORTED = "heron, ho_sfl, hosl, mu_splitfed, cse_fsl or frozen"


def check_exportable(parts: nn.ModuleDict, terms: Terms) -> None:
    """Refuse by name what no graph can do.

    Args:
        parts: what a client holds.
        terms: of the run.

    Raises:
        BundleError: naming what stands in the way.
    """
    algorithm = ALGORITHMS[terms.algorithm]
    learning = algorithm.learning(terms.settings)
    if learning.client.learning != "zeroth_order":
        raise BundleError(
            f"{terms.algorithm}: expected client.learning=zeroth_order for an exported client, found "
            f"{learning.client.learning}: a client of layer groups has no export; set it, or choose {_EXPORTED}"
        )
    if algorithm.downlink_only is not None:
        raise BundleError(
            f"{terms.algorithm}: expected an auxiliary network that is the client's for an exported client, found one "
            f"that the Main Server fits; choose {_EXPORTED}"
        )
    if terms.settings.estimator.scheme == "jvp":
        raise BundleError("expected estimator.scheme one_sided or central for an exported client, found jvp; set it")
    if is_stochastic(parts):
        raise BundleError(
            "expected a client without randomness, found Dropout or the like: a graph cannot draw the same masks "
            "again; set its probability to 0, that of a pre-trained model in its config.json"
        )
    if any(isinstance(layer, EncoderEmbedding) for layer in parts.modules()):
        raise BundleError(
            "expected images or a causal language model, found an encoder of texts, whose tokens an exported client "
            "would not check; run such clients with PyTorch"
        )
    if "server" in parts:
        raise BundleError(
            f"{terms.algorithm}: expected clients that hold a part of the network, found the whole of it; "
            f"choose {_EXPORTED}"
        )
    if algorithm.head is None and algorithm.orders(learning).exact != 0:
        raise BundleError(
            f"{terms.algorithm}: expected clients that learn from probes or from a loss of their own, found some that "
            f"backpropagate the Main Server's gradient; choose {_EXPORTED}"
        )
    for name, tensor in parts.named_parameters():
        if tensor.requires_grad and dtype_name(tensor) != "float32":
            raise BundleError(f"expected trainable parameters in float32, found {dtype_name(tensor)} in {name!r}")


def check_weights(criterion: Criterion, labels: Tensor) -> None:
    """Refuse weights of classes: a client that takes micro-batches would have to know them.

    Args:
        criterion: mean loss over a batch.
        labels: of a few examples.

    Raises:
        BundleError: if it has some.
    """
    weight = MeanLoss(criterion).weight(labels)
    if isinstance(weight, Tensor) and weight.is_floating_point():
        raise BundleError(
            "expected a criterion without weights of classes for an exported client, found some; drop them"
        )
