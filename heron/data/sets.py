"""Table of the data sets."""

from heron.data.cifar10 import Cifar10
from heron.data.data_set import DataSet
from heron.data.digits import Digits
from heron.data.e2e import E2E
from heron.data.sst2 import Sst2
from heron.data.text import Text

DATA_SETS: dict[str, type[DataSet]] = {"digits": Digits, "cifar10": Cifar10, "e2e": E2E, "sst2": Sst2, "text": Text}
"""Data sets by name, the value of `data.name`."""
