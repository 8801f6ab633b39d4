"""A network cut in two: how to cut it, the auxiliary networks of clients, and checks that the cut network can train.

This room knows nothing of transport, metering or algorithms. Read in this order: `model`, `cut`, `traced`, `heads`,
`bottleneck`, `equivalence`, `validate`, `trial`, `boundary`, `layer_groups`, `sharing`, `fakes`, `family`; then one
file per model family: `digits_cnn`, `resnet18`, and the outputs of a language model: `token_logits`.
"""

from heron.faces import extra_named

with extra_named():
    from heron.randomness import build_seeded, has_batchnorm, is_stochastic, seeded_randomness
    from heron.split.bottleneck import with_bottleneck
    from heron.split.boundary import OrderBoundary, num_client_modules, place_boundary
    from heron.split.cut import cut, ordered_children
    from heron.split.digits_cnn import DigitsCnn, digits_cnn
    from heron.split.equivalence import check_equivalence
    from heron.split.fakes import build_in_any_mode
    from heron.split.family import ModelFamily
    from heron.split.heads import linear_head, local_head, pooled_linear_head
    from heron.split.layer_groups import layer_groups, with_local_heads
    from heron.split.lending import lent
    from heron.split.model import ClientPart, SplitModel
    from heron.split.resnet18 import ResNet18, resnet18
    from heron.split.sharing import check_disjoint, persistent_buffers
    from heron.split.token_logits import TokenLogits, num_counted, token_cross_entropy
    from heron.split.validate import check_client, check_normalisation, check_trainable

__all__ = [
    "ClientPart",
    "DigitsCnn",
    "ModelFamily",
    "OrderBoundary",
    "ResNet18",
    "SplitModel",
    "TokenLogits",
    "build_in_any_mode",
    "build_seeded",
    "check_client",
    "check_disjoint",
    "check_equivalence",
    "check_normalisation",
    "check_trainable",
    "cut",
    "digits_cnn",
    "has_batchnorm",
    "is_stochastic",
    "layer_groups",
    "lent",
    "linear_head",
    "local_head",
    "num_client_modules",
    "num_counted",
    "ordered_children",
    "persistent_buffers",
    "place_boundary",
    "pooled_linear_head",
    "resnet18",
    "seeded_randomness",
    "token_cross_entropy",
    "with_bottleneck",
    "with_local_heads",
]
