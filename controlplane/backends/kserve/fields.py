"""Who has set which field: what server-side apply notes in `managedFields`, read. Pure functions of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controlplane.backends.kserve.kinds import title
from controlplane.decide import FieldConflict
from controlplane.domain.quotas import number

MANAGER = "mlflow-kserve"
SCHEDULE = "mlflow-kserve-scale"
"""The jobs of a schedule, which change the numbers of replicas: that is ours, too."""
ROLLOUT = "mlflow-kserve-rollout"
"""Weights, and whatever else a rollout changes of objects that are there: that is ours, too."""
MAX_SHOWN = 20  # fields of one manager
MISSING = object()
HOUSEKEEPING = ("metadata.finalizers", "metadata.ownerReferences", "metadata.annotations.kubectl.kubernetes.io/")


def entries(live: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Other managers of an object, and the fields that each has set; the status is of controllers."""
    for entry in live["metadata"].get("managedFields", ()):
        is_ours = entry.get("manager") == MANAGER and entry.get("operation") == "Apply"
        if not is_ours and entry.get("manager") not in (SCHEDULE, ROLLOUT) and not entry.get("subresource"):
            yield entry.get("manager", "somebody"), entry.get("fieldsV1") or {}


def is_ours(live: Mapping[str, Any]) -> bool:
    """Whether we have applied an object: KServe copies our labels to those that it makes itself."""
    about = live["metadata"]
    controlled = any(owner.get("controller") for owner in about.get("ownerReferences", ()))
    applied = any(
        entry.get("manager") == MANAGER and entry.get("operation") == "Apply"
        for entry in about.get("managedFields", ())
    )
    return applied and not controlled


def conflicts(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> list[FieldConflict]:
    """The fields that an apply would be refused for: others have set them, and to other values."""
    found: dict[str, FieldConflict] = {}
    for manager, fields in entries(live):
        for field, ours, theirs, overlay in differing(fields, rendered, live, ""):
            found.setdefault(field, FieldConflict(title(live), field, manager, theirs, ours, overlay))
    return list(found.values())


def differing(
    fields: Mapping[str, Any], rendered: Any, live: Any, path: str
) -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """Fields that were rendered and are otherwise: the path, both values, and an object with nothing but theirs."""
    for key, below in fields.items():
        name, ours, theirs = step(key, rendered, live)
        if ours is MISSING or theirs is MISSING or name is None:
            continue
        place = f"{path}.{name}" if path and not name.startswith("[") else path + name
        if below:  # `.` alone is a claim to the object or list, and to nothing in it
            for field, said, is_there, overlay in differing(below, ours, theirs, place):
                yield field, said, is_there, around(key, overlay)
        elif not same(ours, theirs):
            yield place, ours, theirs, around(key, theirs)


def step(key: str, rendered: Any, live: Any) -> tuple[str | None, Any, Any]:
    """One key of `fieldsV1`: how it reads, and what is below it on both sides."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        ours = rendered.get(rest, MISSING) if isinstance(rendered, Mapping) else MISSING
        theirs = live.get(rest, MISSING) if isinstance(live, Mapping) else MISSING
        return rest, ours, theirs
    if kind == "k":
        selector = json.loads(rest)
        text = ",".join(f"{name}={value}" for name, value in selector.items())
        return f"[{text}]", item(rendered, selector), item(live, selector)
    return None, MISSING, MISSING


def item(items: Any, selector: Mapping[str, Any]) -> Any:
    """The item of a list that has these values."""
    if not isinstance(items, list):
        return MISSING
    matching = (each for each in items if isinstance(each, Mapping) and selector.items() <= each.items())
    return next(matching, MISSING)


def around(key: str, overlay: Any) -> Any:
    kind, _, rest = key.partition(":")
    return {rest: overlay} if kind == "f" else [{**json.loads(rest), **overlay}]


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values are one; `500m` and `0.5` are."""
    if ours == theirs:
        return True
    texts = [str(value) for value in (ours, theirs) if isinstance(value, (str, int, float))]
    return len(texts) == 2 and all(text[:1].isdigit() for text in texts) and 0 != number(texts[0]) == number(texts[1])


def combined(one: Any, other: Any) -> Any:
    """Two overlays as one; lists of things with names are merged by name."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {**one, **{key: combined(one[key], value) if key in one else value for key, value in other.items()}}
    if isinstance(one, list) and isinstance(other, list):
        below, above = named(one), named(other)
        if below is not None and above is not None:
            return list((below | {name: combined(below.get(name, {}), each) for name, each in above.items()}).values())
    return other


def added_by_others(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, list[str]]:
    """Fields that others have set and we have not, by manager."""
    shown: dict[str, list[str]] = {}
    for manager, fields in entries(live):
        listed = [path for path in added(fields, rendered, live, "") if not path.startswith(HOUSEKEEPING)]
        if listed:
            shown[manager] = (shown.get(manager, []) + listed)[:MAX_SHOWN]
    return shown


def added(fields: Mapping[str, Any], rendered: Any, live: Any, path: str) -> Iterator[str]:
    for key, below in fields.items():
        name, ours, theirs = step(key, rendered, live)
        if name is None or theirs is MISSING:
            continue
        place = f"{path}.{name}" if path and not name.startswith("[") else path + name
        inner = [each for each in below if each != "."]
        if ours is MISSING and not inner:
            yield place
        elif inner:
            yield from added(below, {} if ours is MISSING else ours, theirs, place)


def absent(rendered: Any, live: Any, path: str = "") -> Iterator[str]:
    """Paths that were rendered and are not there. Nothing is as good as an empty object."""
    if isinstance(rendered, Mapping) and isinstance(live, Mapping):
        for key, value in rendered.items():
            place = f"{path}.{key}" if path else str(key)
            if key in live:
                yield from absent(value, live[key], place)
            elif value not in ({}, [], None, ""):
                yield place
    elif isinstance(rendered, list) and isinstance(live, list):
        ours, theirs = named(rendered), named(live)
        if ours is not None and theirs is not None:
            for name, value in ours.items():
                if name in theirs:
                    yield from absent(value, theirs[name], f"{path}[{name}]")
                else:
                    yield f"{path}[{name}]"


def named(items: Sequence[Any]) -> dict[str, Any] | None:
    """A list by the names of its items, if all have one."""
    names = [each.get("name") if isinstance(each, Mapping) else None for each in items]
    if None in names or len(set(names)) != len(names):
        return None
    return dict(zip(map(str, names), items, strict=True))
