"""Strict models of pydantic, derived from the dataclasses that define settings.

A model exists to validate tables that come from outside; its result is an object of the dataclass. Each field keeps the
name that it has there, and the check of its values (`heron.ranges`), and loses its default: a saved configuration holds
every key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial, reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, create_model

from heron.ranges import fitting

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


def sections_of_kinds(group: Any) -> dict[str, OneOf]:
    """List the sections of a dataclass of settings that have several kinds, with their kinds."""
    hints = get_type_hints(group, include_extras=True)
    marks = {field.name: _mark_of(hints[field.name]) for field in fields(group)}
    return {name: mark for name, mark in marks.items() if mark is not None}


@cache
def _model(group: Any) -> type[Section]:
    hints = get_type_hints(group, include_extras=True)
    keys: dict[str, Any] = {field.name: (_validating(hints[field.name]), ...) for field in fields(group)}
    model = create_model(group.__name__, __base__=Section, **keys)
    model.group = group
    return model


def _validating(annotation: Any) -> Any:
    """The annotation of a model's field: a model for a dataclass, else the check that its objects make themselves."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _model(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if (mark := _mark_of(annotation)) is not None:
        return Annotated[reduce(or_, map(_model, mark.table.values())), Field(discriminator=mark.key)]
    if origin is tuple and is_dataclass(arguments[0]):
        items: Any = tuple.__class_getitem__((_validating(arguments[0]), ...))
        return Annotated[items, BeforeValidator(_tuple)]
    if origin is Literal and len(arguments) == 1:  # it tells the kinds of a section apart
        return annotation
    return Annotated[Any, PlainValidator(partial(fitting, annotation))]


def _mark_of(annotation: Any) -> OneOf | None:
    return next((mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, OneOf)), None)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _built(value: Any) -> Any:
    """The same with an object of its dataclass in place of every model."""
    if isinstance(value, Section):
        return value.group(**{name: _built(getattr(value, name)) for name in type(value).model_fields})
    return tuple(map(_built, value)) if isinstance(value, tuple) else value
