"""The fields of the spec as its models declare them: where they are, what they take, what they are for."""

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
    """A field that a person can say."""

    path: Path
    info: FieldInfo

    @property
    def words(self) -> str:
        """What it is for."""
        of_part = [str(model.__doc__) for model in models(self.info.annotation)]
        return self.info.description or (of_part[0].partition("\n")[0].rstrip(".") if of_part else "")

    @property
    def default(self) -> Any:
        return None if self.info.is_required() else self.info.get_default(call_default_factory=True)


def inside(annotation: Any) -> Iterator[Any]:
    """The annotation, and for a union what it is made of."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from inside(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from inside(one)
    else:
        yield annotation


def models(annotation: Any) -> list[type[Part]]:
    """The parts of the spec that a value of this annotation may be."""
    return [one for one in inside(annotation) if isinstance(one, type) and issubclass(one, Part)]


def stepped(annotation: Any, part: str | int) -> Iterator[Any]:
    """What stands below an annotation at a field, a key or a position."""
    for one in inside(annotation):
        if isinstance(one, type) and issubclass(one, Part):
            if part in one.model_fields:
                yield one.model_fields[str(part)].annotation
        elif get_origin(one) is dict and isinstance(part, str):
            yield get_args(one)[1]
        elif get_origin(one) is list and isinstance(part, int):
            yield get_args(one)[0]


def annotations_at(path: Sequence[str | int], root: Any = ServeSpec) -> list[Any]:
    """What may stand at a path."""
    found = [root]
    for part in path:
        found = [below for one in found for below in stepped(one, part)]
    return found


def models_at(path: Sequence[str | int]) -> list[type[Part]]:
    return [model for one in annotations_at(path) for model in models(one)]


def declared(model: type[Part] = ServeSpec, above: Path = ()) -> Iterator[Declared]:
    """All fields, those of parts after the part itself; below a list as `[0]`, below free names as `<name>`."""
    for name, info in model.model_fields.items():
        path = (*above, name)
        yield Declared(path, info)
        yield from below(info.annotation, path)


def below(annotation: Any, path: Path) -> Iterator[Declared]:
    for one in inside(annotation):
        if isinstance(one, type) and issubclass(one, Part):
            yield from declared(one, path)
        elif get_origin(one) is list:
            yield from below(get_args(one)[0], (*path, 0))
        elif get_origin(one) is dict:
            yield from below(get_args(one)[1], (*path, "<name>"))
