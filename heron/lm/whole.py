"""The whole model of `transformers`, rebuilt from its parts: to save, to export, to generate with.

`B` prompts of a batch, `T` positions.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from heron.errors import SplitError
from heron.lm.adaptation import merge_lora_
from heron.lm.cutting import CausalLmSplit
from heron.lm.quiet import quiet_transformers
from heron.lm.widening import store_wide_


def whole_model(split: CausalLmSplit) -> Any:
    """Rebuild the fine-tuned model: LoRA merged into float32 weights, every part in its place.

    Args:
        split: the cut model with its global parameters; not changed.

    Returns:
        A causal language model of `transformers`, in evaluation mode, that shares nothing with `split`.
    """
    model = copy.deepcopy(split.whole)
    store_wide_(model)
    merge_lora_(model)
    unembedding = split.server.get_parameter("unembedding.weight")
    if unembedding is not split.whole.get_output_embeddings().weight:
        # Trained separately from the embedding that it was tied to.
        model.config.tie_word_embeddings = False
        model.get_output_embeddings().weight = nn.Parameter(unembedding.detach().clone())
    return model.requires_grad_(False).eval()


def save_whole(split: CausalLmSplit, tokenizer: Any, directory: Path) -> None:
    """Write the whole model as a directory that `AutoModelForCausalLM.from_pretrained` loads.

    Args:
        split: the cut model with its global parameters.
        tokenizer: saved together with the model.
        directory: target directory; files of the same names are replaced.
    """
    with quiet_transformers():
        whole_model(split).cpu().save_pretrained(directory)
        tokenizer.save_pretrained(directory)


@torch.no_grad()
def continuations(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, max_new_tokens: int = 80, batch_size: int = 20
) -> list[str]:
    """Continue each prompt greedily, up to the end token, whatever defaults the model has for generating.

    Args:
        model: a causal language model of `transformers`.
        tokenizer: its tokenizer.
        prompts: texts.
        max_new_tokens: length of the longest continuation, >= 1; shorter if the model has no more positions.
        batch_size: number of prompts per batch, >= 1.

    Returns:
        The continuations, without prompt and end token, in the order of the prompts.

    Raises:
        SplitError: if a prompt leaves no position for a continuation.
    """
    model.eval()
    end = tokenizer.eos_token_id
    with _no_defaults(model):
        return list(_continuations(model, tokenizer, end, prompts, max_new_tokens, batch_size))


def _continuations(
    model: Any, tokenizer: Any, end: int, prompts: Sequence[str], max_new_tokens: int, batch_size: int
) -> Iterator[str]:
    from transformers import GenerationConfig

    for start in range(0, len(prompts), batch_size):
        rows = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts[start : start + batch_size]]
        longest = max(map(len, rows))
        room = model.config.max_position_embeddings - longest
        if room < 1:
            raise SplitError(
                f"expected prompts of less than {longest + room} tokens, the positions of the model, found {longest}; "
                f"shorten them"
            )
        # Padded on the left, so that every row continues at its last column.
        ids_BT = torch.tensor([[end] * (longest - len(row)) + row for row in rows], device=model.device)
        mask_BT = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device)
        greedily = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=min(max_new_tokens, room),
            do_sample=False,
            num_beams=1,
            pad_token_id=end,
            eos_token_id=end,
        )
        made_BT = model.generate(ids_BT, attention_mask=mask_BT, generation_config=greedily)
        for row in made_BT[:, longest:].tolist():
            made = row[: row.index(end)] if end in row else row
            yield tokenizer.decode(made, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()


@contextmanager
def _no_defaults(model: Any) -> Iterator[None]:
    """Take the model's own defaults for generating away, because the library fills in from them what is not given."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = own
