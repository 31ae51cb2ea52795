"""The fields of the spec as its models declare them: paths, types and descriptions."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from generator.problems import Path
from generator.spec import ServeSpec
from generator.spec.values import Part


@dataclass(frozen=True, slots=True)
class Declared:
    """A field of the spec."""

    path: Path
    info: FieldInfo

    @property
    def description(self) -> str:
        """Its own description, or that of the part of the spec that it holds."""
        parts = [str(model.__doc__) for model in models(self.info.annotation)]
        return self.info.description or (parts[0].partition("\n")[0].rstrip(".") if parts else "")

    @property
    def default(self) -> Any:
        return None if self.info.is_required() else self.info.get_default(call_default_factory=True)


def members(annotation: Any) -> Iterator[Any]:
    """The annotation, or the members of a union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from members(one)
    else:
        yield annotation


def models(annotation: Any) -> list[type[Part]]:
    """The parts of the spec that a value of this annotation may hold."""
    return [one for one in members(annotation) if isinstance(one, type) and issubclass(one, Part)]


def annotations_below(annotation: Any, part: str | int) -> Iterator[Any]:
    """The annotations below one, at a field, a key or a position."""
    for one in members(annotation):
        if isinstance(one, type) and issubclass(one, Part):
            if part in one.model_fields:
                yield one.model_fields[str(part)].annotation
        elif get_origin(one) is dict and isinstance(part, str):
            yield get_args(one)[1]
        elif get_origin(one) is list and isinstance(part, int):
            yield get_args(one)[0]


def annotations_at(path: Sequence[str | int], root: Any = ServeSpec) -> list[Any]:
    """The annotations that a value at the path may have."""
    annotations: list[Any] = [root]
    for part in path:
        annotations = [below for one in annotations for below in annotations_below(one, part)]
    return annotations


def models_at(path: Sequence[str | int]) -> list[type[Part]]:
    return [model for one in annotations_at(path) for model in models(one)]


def declared(model: type[Part] = ServeSpec, above: Path = ()) -> Iterator[Declared]:
    """All fields, depth first. The path has 0 for an item of a list and `<name>` for a free key."""
    for name, info in model.model_fields.items():
        path = (*above, name)
        yield Declared(path, info)
        yield from declared_below(info.annotation, path)


def declared_below(annotation: Any, path: Path) -> Iterator[Declared]:
    for one in members(annotation):
        if isinstance(one, type) and issubclass(one, Part):
            yield from declared(one, path)
        elif get_origin(one) is list:
            yield from declared_below(get_args(one)[0], (*path, 0))
        elif get_origin(one) is dict:
            yield from declared_below(get_args(one)[1], (*path, "<name>"))
