"""Data sets, partitions among clients, and batches. Optional libraries are imported when they are needed.

A client without torch uses `Batch` and the order (`batch_indices`, `num_local_steps`, `num_batched`): the face imports
each name's module when the name is first asked for, and theirs import no torch.
"""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.data.batch import Batch as Batch
    from heron.data.batches import fetch as fetch
    from heron.data.batches import labels_of as labels_of
    from heron.data.batches import num_examples as num_examples
    from heron.data.batches import shape_of_example as shape_of_example
    from heron.data.cifar10 import load_cifar10 as load_cifar10
    from heron.data.digits import load_digits as load_digits
    from heron.data.e2e import Prompt as Prompt
    from heron.data.e2e import Tokenize as Tokenize
    from heron.data.e2e import load_e2e as load_e2e
    from heron.data.e2e import load_e2e_prompts as load_e2e_prompts
    from heron.data.order import batch_indices as batch_indices
    from heron.data.order import num_batched as num_batched
    from heron.data.order import num_local_steps as num_local_steps
    from heron.data.partition import PARTITIONS as PARTITIONS
    from heron.data.partition import partition as partition
    from heron.data.sequences import IGNORED as IGNORED
    from heron.data.sequences import TokenSequences as TokenSequences
    from heron.data.splits import Splits as Splits
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "IGNORED": "heron.data.sequences",
            "PARTITIONS": "heron.data.partition",
            "Batch": "heron.data.batch",
            "Prompt": "heron.data.e2e",
            "Splits": "heron.data.splits",
            "TokenSequences": "heron.data.sequences",
            "Tokenize": "heron.data.e2e",
            "batch_indices": "heron.data.order",
            "fetch": "heron.data.batches",
            "labels_of": "heron.data.batches",
            "load_cifar10": "heron.data.cifar10",
            "load_digits": "heron.data.digits",
            "load_e2e": "heron.data.e2e",
            "load_e2e_prompts": "heron.data.e2e",
            "num_batched": "heron.data.order",
            "num_examples": "heron.data.batches",
            "num_local_steps": "heron.data.order",
            "partition": "heron.data.partition",
            "shape_of_example": "heron.data.batches",
        },
    )
