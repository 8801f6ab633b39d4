"""Texts read from vectors at the cut: exact where the map is linear, by a tiny language model, and of no padding."""

import numpy as np
import pytest
import torch

from heron.algorithms import ALGORITHMS
from heron.audit import View, make_view
from heron.audit.decoder import decode
from heron.audit.labels import probe_labels
from heron.audit.tokens import embeddings, is_text, nearest_tokens, recover_tokens
from heron.data import Splits, TokenSequences
from heron.split import SplitModel, token_cross_entropy
from heron.wire.groups import Client, Settings


def test_a_linear_map_of_embeddings_is_read_exactly_tokens_never_seen_included() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(50, 8, generator=generator)
    mix = torch.randn(8, 12, generator=generator)
    tokens = torch.randint(0, 30, (400,), generator=generator)
    others = torch.randint(0, 50, (200,), generator=generator)
    found = nearest_tokens(table[tokens] @ mix, tokens, table[others] @ mix, table)
    assert float((found == others).float().mean()) > 0.97
    noise = torch.randn(200, 12, generator=generator)
    assert float((nearest_tokens(table[tokens] @ mix, tokens, noise, table) == others).float().mean()) < 0.2


def test_padding_is_no_text() -> None:
    tokens = torch.tensor([[5, 6, 7, 0, 0], [5, 0, 7, 8, 9], [0, 0, 0, 0, 0]])
    expected = [[True, True, True, False, False], [True] * 4 + [False], [False] * 5]
    assert is_text(tokens).tolist() == expected


def test_the_largest_table_with_all_tokens_is_the_embeddings() -> None:
    client = torch.nn.Sequential(torch.nn.Embedding(24, 4), torch.nn.Embedding(61, 4))
    assert embeddings(client, 40) is client[1].weight
    assert embeddings(client, 62) is None


def view_of(split: SplitModel) -> View:
    generator = np.random.default_rng(0)

    def sequences(number: int) -> TokenSequences:
        lengths = generator.integers(6, 12, number)
        return TokenSequences([(generator.integers(1, 61, 2), generator.integers(1, 61, n)) for n in lengths], pad=0)

    splits = Splits(sequences(40), sequences(200), sequences(20), num_classes=61)
    settings = Settings(client=Client(batch_size=8))
    return make_view(split, ALGORITHMS["heron"], settings, splits, criterion=token_cross_entropy, examples=40)


@pytest.mark.slow
def test_texts_are_read_from_a_tiny_language_model() -> None:
    pytest.importorskip("transformers", reason="language models come from transformers")
    from heron.lm.cutting import cut_causal_lm
    from tests.lm.models import uncut

    view = view_of(cut_causal_lm(uncut("gpt2"), 1, 1))
    assert view.are_tokens
    figures = recover_tokens(view).figures
    assert figures["token_accuracy"] > 0.5
    assert figures["token_guess"] < 0.1
    assert decode(view).figures == {}
    assert probe_labels(view).figures == {}
