"""Fine-tune a causal language model of `transformers` across three simulated clients."""

import tempfile

import torch
from transformers import GPT2Config

import heron
from heron.data import TokenSequences
from heron.lm import Adaptation, causal_lm
from heron.split import token_cross_entropy

# A directory with a configuration replaces a pre-trained model here. With a real one, leave out `random_weights`; LoRA
# trains next to frozen weights if `adaptation` is left out, too.
torch.manual_seed(0)
config = GPT2Config(vocab_size=32, n_positions=16, n_embd=32, n_layer=3, n_head=4, bos_token_id=31, eos_token_id=31)
with tempfile.TemporaryDirectory() as source:
    config.save_pretrained(source)
    train_all = Adaptation(lora_rank=0)
    split = causal_lm(source, num_client_blocks=1, num_auxiliary_blocks=1, adaptation=train_all, random_weights=True)

# Prompts of two numbers, and their continuations: equal steps modulo 31, then an end token.
rows = [[(first + step * place) % 31 for place in range(8)] for first in range(31) for step in (1, 2, 3)]
examples = [(row[:2], [*row[2:], 31]) for row in rows]
train, test = TokenSequences(examples[::2], pad=31), TokenSequences(examples[1::2], pad=31)
result = heron.train(
    split,
    train,
    test=test,
    rounds=20,
    clients={"total": 3},
    client={"batch_size": 8},
    server={"learning_rate": 3e-3},
    criterion=token_cross_entropy,
)

print(f"test perplexity {result.metrics[-1]['test_perplexity']:.1f} of 32 tokens")
