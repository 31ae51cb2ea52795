"""Why each value of a serve is what it is: said somewhere, decided for a reason, or a default."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from generator.plan import ManifestPlan
from generator.problems import Path, path_text
from generator.spec.values import Part
from generator.specfile.fields import models
from generator.specfile.yaml_text import Position, Written


@dataclass(frozen=True, slots=True)
class Explained:
    """A value, where it comes from, and what it is for or why it was decided so."""

    path: str
    value: Any
    source: str
    """`serve.yaml:12`, a flag, `decided` or `default`."""
    why: str

    @property
    def shown(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)


def explain(plan: ManifestPlan, written: Written) -> list[Explained]:
    """Every value of the spec, in its order; those that nobody said and that are empty are None."""
    found = list(of_part(plan.spec, (), written))
    known = {each.path for each in found}
    decided = {where: reason for where, reason in plan.reasons.items() if reason.why != "said in the spec"}
    explained = [
        Explained(each.path, decided[each.path].value, "decided", decided[each.path].why)
        if each.path in decided and (each.source == "default" or each.value == "auto")
        else each
        for each in found
    ]
    return explained + [
        Explained(where, reason.value, "decided", reason.why) for where, reason in decided.items() if where not in known
    ]


def of_part(part: Part, path: Path, written: Written) -> Iterator[Explained]:
    for name, info in type(part).model_fields.items():
        value, here = getattr(part, name), (*path, name)
        said = name in part.model_fields_set
        words = info.description or next((str(model.__doc__) for model in models(info.annotation)), "")
        if isinstance(value, Part):
            yield from of_part(value, here, written)
        elif said and isinstance(value, dict) and value:
            for key, item in value.items():
                yield said_at((*here, key), item, words, written)
        elif said:
            yield said_at(here, value, words, written)
        else:
            yield Explained(path_text(here), plain(value), "default", words)


def said_at(path: Path, value: Any, words: str, written: Written) -> Explained:
    place = written.place(path) or Position("said")
    where = f"{place} ({place.environment})" if place.environment else str(place)
    return Explained(path_text(path), plain(value), where, words)


def plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, Part):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def table(rows: list[Explained], width: int = 44) -> str:
    """The rows in columns; what is long is cut."""
    cells = [(row.path, cut(row.shown, width), row.source, row.why) for row in rows]
    widths = [max((len(cell[column]) for cell in cells), default=0) for column in range(3)]
    return "".join(
        "  ".join([*(text.ljust(size) for text, size in zip(cell, widths, strict=False)), cell[3]]).rstrip() + "\n"
        for cell in cells
    )


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
