"""The configuration of a run: its settings, and what they are for. Values come from a recipe or a saved file."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from heron.config.families import MODELS
from heron.config.models import OneOf
from heron.data import DATA_SETS, DataSet
from heron.split import ModelFamily
from heron.wire.groups import Settings


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """Everything a run depends on: settings, the data and the network.

    Attributes:
        recipe: name of the recipe it came from.
        algorithm: key of the registry.
        data: the data set.
        split: the network and its cut.
    """

    recipe: str
    algorithm: str
    data: Annotated[DataSet, OneOf(DATA_SETS, "name")]
    split: Annotated[ModelFamily, OneOf(MODELS, "model")]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values with the order and the lists of a saved file."""
        values: dict[str, Any] = _plain(asdict(self))
        first = {key: values.pop(key) for key in ("recipe", "algorithm", "data")}
        return first | values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value
