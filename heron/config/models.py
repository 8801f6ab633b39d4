"""Strict models of pydantic, derived from the dataclasses that define settings.

A model exists to validate values that come from outside; its result is an object of the dataclass. Each field keeps
the name and the range that it has there, and loses its default: a saved configuration holds every key.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Lt, Unit
from pydantic import AllowInfNan, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from heron.config.sizes import size

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class OneOf:
    """Mark of a section that has several kinds.

    Attributes:
        table: dataclass of every kind by its name.
        key: the section's key that holds the name.
    """

    table: Mapping[str, type]
    key: str


class Section(BaseModel):
    """A section: every key given, none unknown, types as they are.

    Attributes:
        group: the dataclass that it validates values for.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    group: ClassVar[type]


def validated(group: type[T], values: Mapping[str, Any]) -> T:
    """Make an object of a dataclass from plain values, those of its sections included.

    Raises:
        pydantic.ValidationError: if a key is unknown or absent, or a value out of range.
    """
    kind: Any = group
    built: T = _built(_model(kind).model_validate(values))
    return built


@cache
def _model(group: Any) -> type[Section]:
    hints = get_type_hints(group, include_extras=True)
    keys: dict[str, Any] = {field.name: (_validating(hints[field.name]), ...) for field in fields(group)}
    model = create_model(group.__name__, __base__=Section, **keys)
    model.group = group
    return model


def _validating(annotation: Any) -> Any:
    """The annotation of a model's field: a model for a dataclass, a validator for a unit."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _model(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, *rules = arguments
        if isinstance(rules[0], OneOf):
            table, key = rules[0].table, rules[0].key
            return Annotated[reduce(or_, map(_model, table.values())), Field(discriminator=key)]
        return reduce(lambda inner, rule: Annotated[inner, _rule(rule)], rules, _validating(kind))
    if origin in (Union, UnionType):
        return reduce(or_, map(_validating, arguments))
    if origin is tuple:  # TOML has lists
        items: Any = tuple.__class_getitem__((_validating(arguments[0]), ...))
        return Annotated[items, BeforeValidator(_tuple)]
    return annotation


def _rule(rule: Any) -> Any:
    if rule == Lt(math.inf):
        return AllowInfNan(False)
    return BeforeValidator(size) if isinstance(rule, Unit) else rule


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _built(value: Any) -> Any:
    """The same with an object of its dataclass in place of every model."""
    if isinstance(value, Section):
        return value.group(**{name: _built(getattr(value, name)) for name in type(value).model_fields})
    return tuple(map(_built, value)) if isinstance(value, tuple) else value
