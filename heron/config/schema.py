"""The configuration of a run: its settings, and what they are for. Values come from a recipe or a saved file."""

from dataclasses import dataclass
from typing import Annotated, Any

from heron.config.families import MODELS
from heron.config.models import OneOf
from heron.data import DATA_SETS, DataSet
from heron.split import ModelFamily
from heron.wire.groups import Settings
from heron.wire.plain import to_plain


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """Everything a run depends on: settings, the data and the network.

    Attributes:
        recipe: name of the recipe it came from.
        algorithm: name of the algorithm, as `heron algorithms` lists it.
        data: the data set.
        split: the network and its cut.
    """

    recipe: str
    algorithm: str
    data: Annotated[DataSet, OneOf(DATA_SETS, "name")]
    split: Annotated[ModelFamily, OneOf(MODELS, "model")]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values with the order and the lists of a saved file."""
        values: dict[str, Any] = to_plain(self)
        first = {key: values.pop(key) for key in ("recipe", "algorithm", "data")}
        return first | values
