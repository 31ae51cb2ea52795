"""The origin of each value of a serve: set somewhere, decided for a reason, or a default."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from generator.plan import ManifestPlan
from generator.problems import Path, path_text
from generator.spec.values import Part
from generator.specfile.fields import models
from generator.specfile.yaml_text import Position, YamlDocument


@dataclass(frozen=True, slots=True)
class Explained:
    """A value, its source, and its description or the reason for the decision."""

    path: str
    value: Any
    source: str
    """`serve.yaml:12`, a flag, `decided` or `default`."""
    why: str

    @property
    def shown(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)


def explain(plan: ManifestPlan, document: YamlDocument) -> list[Explained]:
    """Every value of the spec, in its order; unset optional values are None."""
    values = list(of_part(plan.spec, (), document))
    known = {each.path for each in values}
    decided = {where: reason for where, reason in plan.reasons.items() if reason.why != "set in the spec"}
    explained = [
        Explained(each.path, decided[each.path].value, "decided", decided[each.path].why)
        if each.path in decided and (each.source == "default" or each.value == "auto")
        else each
        for each in values
    ]
    return explained + [
        Explained(where, reason.value, "decided", reason.why) for where, reason in decided.items() if where not in known
    ]


def of_part(part: Part, path: Path, document: YamlDocument) -> Iterator[Explained]:
    for name, info in type(part).model_fields.items():
        value, here = getattr(part, name), (*path, name)
        is_set = name in part.model_fields_set
        description = info.description or next((str(model.__doc__) for model in models(info.annotation)), "")
        if isinstance(value, Part):
            yield from of_part(value, here, document)
        elif is_set and isinstance(value, dict) and value:
            for key, item in value.items():
                yield set_at((*here, key), item, description, document)
        elif is_set:
            yield set_at(here, value, description, document)
        else:
            yield Explained(path_text(here), plain(value), "default", description)


def set_at(path: Path, value: Any, description: str, document: YamlDocument) -> Explained:
    place = document.position(path) or Position("set")
    where = f"{place} ({place.environment})" if place.environment else str(place)
    return Explained(path_text(path), plain(value), where, description)


def plain(value: Any) -> Any:
    """The value as JSON types."""
    if isinstance(value, Part):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def table(rows: list[Explained], width: int = 44) -> str:
    """The rows in columns; long values are cut."""
    cells = [(row.path, cut(row.shown, width), row.source, row.why) for row in rows]
    widths = [max((len(cell[column]) for cell in cells), default=0) for column in range(3)]
    return "".join(
        "  ".join([*(text.ljust(size) for text, size in zip(cell, widths, strict=False)), cell[3]]).rstrip() + "\n"
        for cell in cells
    )


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
