"""Data sets, partitions among clients, and batches. Optional libraries are imported when they are needed.

A client without torch uses `Batch` and the order (`batch_indices`, `num_local_steps`, `num_batched`): the face imports
each name's module when the name is first asked for, and theirs import no torch.
"""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.data.batch import IGNORED as IGNORED
    from heron.data.batch import Batch as Batch
    from heron.data.batches import fetch as fetch
    from heron.data.batches import labels_of as labels_of
    from heron.data.batches import num_examples as num_examples
    from heron.data.batches import shape_of_example as shape_of_example
    from heron.data.cifar10 import Cifar10 as Cifar10
    from heron.data.data_set import DataSet as DataSet
    from heron.data.data_set import ExampleShape as ExampleShape
    from heron.data.data_set import Tokenizer as Tokenizer
    from heron.data.digits import Digits as Digits
    from heron.data.e2e import E2E as E2E
    from heron.data.e2e import Prompt as Prompt
    from heron.data.e2e import load_e2e_prompts as load_e2e_prompts
    from heron.data.order import batch_indices as batch_indices
    from heron.data.order import num_batched as num_batched
    from heron.data.order import num_local_steps as num_local_steps
    from heron.data.partitions import PARTITIONS as PARTITIONS
    from heron.data.partitions import partition as partition
    from heron.data.pixels import Pixels as Pixels
    from heron.data.sequences import TokenSequences as TokenSequences
    from heron.data.sets import DATA_SETS as DATA_SETS
    from heron.data.splits import Examples as Examples
    from heron.data.splits import Splits as Splits
    from heron.data.sst2 import Sst2 as Sst2
    from heron.data.text import Text as Text
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "DATA_SETS": "heron.data.sets",
            "E2E": "heron.data.e2e",
            "IGNORED": "heron.data.batch",
            "PARTITIONS": "heron.data.partitions",
            "Batch": "heron.data.batch",
            "Cifar10": "heron.data.cifar10",
            "DataSet": "heron.data.data_set",
            "Digits": "heron.data.digits",
            "ExampleShape": "heron.data.data_set",
            "Examples": "heron.data.splits",
            "Pixels": "heron.data.pixels",
            "Prompt": "heron.data.e2e",
            "Splits": "heron.data.splits",
            "Sst2": "heron.data.sst2",
            "Text": "heron.data.text",
            "TokenSequences": "heron.data.sequences",
            "Tokenizer": "heron.data.data_set",
            "batch_indices": "heron.data.order",
            "fetch": "heron.data.batches",
            "labels_of": "heron.data.batches",
            "load_e2e_prompts": "heron.data.e2e",
            "num_batched": "heron.data.order",
            "num_examples": "heron.data.batches",
            "num_local_steps": "heron.data.order",
            "partition": "heron.data.partitions",
            "shape_of_example": "heron.data.batches",
        },
    )
