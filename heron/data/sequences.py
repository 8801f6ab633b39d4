"""Token sequences of different lengths for causal language models, stored compactly and padded per batch.

`B` examples of a batch, `T` tokens, `n` examples of the data set.
"""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from heron.data.batch import IGNORED
from heron.errors import DataError


class TokenSequences(Dataset[tuple[Tensor, ...]]):
    """Next-token examples (input, label) from prompts and continuations; only continuations are targets.

    With p prompt tokens and c continuation tokens s_0, ..., s_{p+c-1}, the input is s_0, ..., s_{p+c-2}; the label at t
    is s_{t+1}, or `IGNORED` if s_{t+1} belongs to the prompt. So the first p - 1 labels are ignored, and the other c
    are the continuation. All tokens are stored in one int32 tensor.

    Attributes:
        lengths: number of input tokens T of every example, p + c - 1, int64, shape (n,).
        num_tokens: one more than the largest token, padding included.
    """

    def __init__(self, examples: Iterable[tuple[Sequence[int], Sequence[int]]], *, pad: int) -> None:
        """Copy the tokens; examples are read one at a time.

        Args:
            examples: (prompt, continuation), each of at least one token in [0, 2**31).
            pad: the token that pads the shorter inputs of a batch, on the right; in the same range.

        Raises:
            DataError: if a prompt or continuation is empty, or a token is not an integer in range.
        """
        tokens = array("i")
        sizes, prompts = [], []
        for position, (prompt, continuation) in enumerate(examples):
            _append(tokens, prompt, f"the prompt of example {position}")
            _append(tokens, continuation, f"the continuation of example {position}")
            sizes.append(len(prompt) + len(continuation))
            prompts.append(len(prompt))
        _append(tokens, [pad], "the padding")
        self._pad = pad
        self._tokens = torch.from_numpy(np.array(tokens, dtype=np.int32))
        self.num_tokens = int(self._tokens.max()) + 1
        self.lengths = np.array(sizes, dtype=np.int64) - 1
        self._sizes_n = torch.tensor(sizes, dtype=torch.int64)
        self._starts_n = self._sizes_n.cumsum(0) - self._sizes_n
        self._prompts_n = torch.tensor(prompts, dtype=torch.int64)

    def __len__(self) -> int:
        """Number of examples n."""
        return len(self.lengths)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """One example without padding: input and labels, int64, both of shape (T,)."""
        inputs, labels = self.batch(np.array([position]))
        return inputs[0], labels[0]

    def batch(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Load examples, padded on the right to the length of the longest.

        Args:
            positions: int64, shape (B,), B >= 1.

        Returns:
            Inputs, padded with `pad`, and labels, padded with `IGNORED`; int64, both of shape (B, T).

        Raises:
            DataError: if no position is given.
            IndexError: if a position is outside the data set.
        """
        if len(positions) == 0:
            raise DataError("expected at least one position to fetch, found none; ask for one or more examples")
        chosen_B = torch.from_numpy(positions)
        ends_B1 = self._sizes_n[chosen_B, None] - 1  # the last token is a target only
        first_targets_B1 = self._prompts_n[chosen_B, None] - 1
        steps_T = torch.arange(int(ends_B1.max()))
        # A padded position may be beyond the last token; the value read there is replaced.
        index_BT = (self._starts_n[chosen_B, None] + steps_T).clamp_(max=len(self._tokens) - 2)
        inside_BT = steps_T < ends_B1
        inputs_BT = self._tokens[index_BT].long().masked_fill_(~inside_BT, self._pad)
        is_target_BT = inside_BT & (steps_T >= first_targets_B1)
        labels_BT = self._tokens[index_BT + 1].long().masked_fill_(~is_target_BT, IGNORED)
        return inputs_BT, labels_BT


def _append(tokens: "array[int]", part: Sequence[int], what: str) -> None:
    """Append tokens to an array with 32 bits per token."""
    if len(part) == 0:
        raise DataError(f"expected at least 1 token in {what}, found none; drop the example or check the tokenizer")
    try:
        tokens.extend(part)
        found = min(part)
        if found >= 0:
            return
        reason = f"found {found}"
    except (OverflowError, TypeError) as error:
        reason = f"found something else ({error})"
    raise DataError(f"expected tokens in [0, 2**31) in {what}, {reason}; check the tokenizer")
