"""Construction of a cut language model from the few settings of a run."""

from typing import Any

from heron.lm.adaptation import Adaptation
from heron.lm.cutting import CausalLmSplit, check_blocks, client_part, cut_causal_lm
from heron.lm.parts import check_cut, is_parts, load_client_parts
from heron.lm.pretrained import causal_lm_config, load_causal_lm, located
from heron.split import ClientPart, build_in_any_mode


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


def causal_lm_client(
    source: str,
    *,
    num_client_blocks: int,
    num_auxiliary_blocks: int | None,
    adaptation: Adaptation | None = None,
) -> ClientPart:
    """Load a client's part of a pre-trained causal language model; the server's blocks are not read.

    All values equal those of `causal_lm` with the same state of torch's generator, since LoRA's initial values are
    drawn block after block, the client's first.

    Args:
        source: as for `causal_lm`, or a directory that `heron split-model` wrote for this cut.
        num_client_blocks: blocks on the client, b.
        num_auxiliary_blocks: blocks of the auxiliary network, a; None for a client without one.
        adaptation: which weights train; LoRA of rank 8 in attention by default.

    Returns:
        The client's blocks and, if asked for, its auxiliary network.

    Raises:
        HeronError: if the model is not available or cannot be cut like this.
    """
    adaptation = adaptation or Adaptation()
    if is_parts(located(source)):
        check_cut(located(source), num_client_blocks, num_auxiliary_blocks)
        return load_client_parts(located(source), adaptation, with_auxiliary=num_auxiliary_blocks is not None)
    check_blocks(causal_lm_config(source).num_hidden_layers, num_client_blocks, num_auxiliary_blocks or 0)
    model = load_causal_lm(source, num_blocks=num_client_blocks + (num_auxiliary_blocks or 0))
    adaptation.apply_(model, model.config)
    return client_part(model, num_client_blocks, with_auxiliary=num_auxiliary_blocks is not None)
