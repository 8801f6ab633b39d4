"""Data sets, partitions among clients, and batches. Optional libraries are imported when they are needed."""

from heron.data.batches import (
    Batch,
    batch_indices,
    fetch,
    labels_of,
    num_batched,
    num_examples,
    num_local_steps,
    shape_of_example,
)
from heron.data.cifar10 import load_cifar10
from heron.data.digits import load_digits
from heron.data.e2e import Prompt, Tokenize, load_e2e, load_e2e_prompts
from heron.data.partition import PARTITIONS, partition
from heron.data.sequences import IGNORED, TokenSequences
from heron.data.splits import Splits

__all__ = [
    "IGNORED",
    "PARTITIONS",
    "Batch",
    "Prompt",
    "Splits",
    "TokenSequences",
    "Tokenize",
    "batch_indices",
    "fetch",
    "labels_of",
    "load_cifar10",
    "load_digits",
    "load_e2e",
    "load_e2e_prompts",
    "num_batched",
    "num_examples",
    "num_local_steps",
    "partition",
    "shape_of_example",
]
