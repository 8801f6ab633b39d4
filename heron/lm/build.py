"""Construction of a cut language model from the few settings of a run."""

from typing import Any

from heron.lm.adaptation import Adaptation
from heron.lm.cutting import CausalLmSplit, cut_causal_lm
from heron.lm.pretrained import load_causal_lm
from heron.split import build_in_any_mode


def causal_lm(
    source: str,
    *,
    num_client_blocks: int,
    num_auxiliary_blocks: int,
    adaptation: Adaptation | None = None,
    random_weights: bool = False,
) -> CausalLmSplit:
    """Load a pre-trained causal language model and cut it, ready for fine-tuning.

    Args:
        source: a directory that `save_pretrained` wrote, one in `models/` next to the data, or a name on the hub.
        num_client_blocks: blocks on the client, b, in [1, number of blocks).
        num_auxiliary_blocks: blocks of the auxiliary network, a, from 0 to the server's number of blocks.
        adaptation: which weights train; LoRA of rank 8 in attention by default.
        random_weights: whether to draw weights from torch's generator instead of loading pre-trained ones.

    Returns:
        The cut model; inputs are token ids (B, T), int64, padded on the right, outputs `TokenLogits`.

    Raises:
        HeronError: if the model is not available or cannot be cut like this.

    Examples:
        See `examples/language_model.py`.
    """

    def adapted() -> Any:
        model = load_causal_lm(source, random_weights=random_weights)
        (adaptation or Adaptation()).apply_(model, model.config)
        return model

    return cut_causal_lm(build_in_any_mode(adapted), num_client_blocks, num_auxiliary_blocks)
