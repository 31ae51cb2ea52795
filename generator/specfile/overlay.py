"""Merges a spec file with its environments, those that the platform shares, and flags. No I/O.

The later wins: defaults of the shared environment, defaults of the file's environment, the spec itself, fields of the
shared environment, fields of the file's environment, flags. Mappings are merged, lists and values replaced, and null
removes a value.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generator.problems import Path, Problem, SpecError, at
from generator.spec.scaling import parse_line
from generator.specfile.fields import members, models_at
from generator.specfile.messages import shown
from generator.specfile.yaml_text import Position, YamlDocument

ENVIRONMENTS = "environments"
PLATFORM_FIELDS = ("cluster", "domain_suffix", "defaults", "overrides")
"""Fields of an environment that are not fields of a spec."""


@dataclass(frozen=True, slots=True)
class Layered:
    """The merged layers."""

    document: YamlDocument
    environment: str | None = None
    cluster: str | None = None
    """The name of the environment's cluster: the context of kubectl."""


def layered(
    file: YamlDocument,
    environment: str | None = None,
    shared: YamlDocument | None = None,
    flags: Iterable[YamlDocument] = (),
) -> Layered:
    """The spec for an environment, with the position of each value; raises SpecError if the layers do not fit."""
    known = {name: None for each in (shared, file) if each for name in environments_of(each)}
    if environment is not None and environment not in known:
        raise SpecError([at(source_of(file), None, unknown(environment, list(known)))])
    sections = [section(each, environment) for each in (shared, file) if each and environment in environments_of(each)]
    merged = YamlDocument({})
    for each in sections:
        merged = merge(merged, part(each, "defaults"))
    merged = merge(merged, base(file))
    cluster = None
    for each in sections:
        merged = merge(merge(merged, direct_fields(each)), part(each, "overrides"))
        cluster = each.data.get("cluster") or cluster
    for flag in flags:
        merged = merge(merged, flag)
    drop_nulls(merged)
    return Layered(merged, environment, None if cluster is None else str(cluster))


def unknown(environment: str, known: Sequence[str]) -> str:
    if not known:
        return f"has no environment {environment!r}: expected environments: {{{environment}: …}}"
    close = difflib.get_close_matches(environment, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"has no environment {environment!r}: {guess}There are {', '.join(known)}"


def source_of(document: YamlDocument) -> str:
    return document.positions[()].source if () in document.positions else "the spec"


def environments_of(document: YamlDocument) -> list[str]:
    """The environments of a file."""
    environments = document.data.get(ENVIRONMENTS) if isinstance(document.data, dict) else None
    return list(environments) if isinstance(environments, dict) else []


def misshapen(document: YamlDocument) -> Iterator[Problem]:
    """Problems of shape that make merging impossible."""
    data = document.data
    if not isinstance(data, dict):
        yield wrong(document, (), f"expected fields such as name: and model:, found {shown(data)}")
    elif "apiVersion" in data and "kind" in data:
        what = f"{data['kind']} of Kubernetes"
        yield wrong(document, (), f"is a {what}, not a spec: expected name, model and other fields of a serve")
    elif not isinstance(data.get(ENVIRONMENTS, {}), dict):
        path = (ENVIRONMENTS,)
        yield wrong(document, path, f"expected environments by name, found {shown(data[ENVIRONMENTS])}")
    else:
        for name, content in (data.get(ENVIRONMENTS) or {}).items():
            yield from misshapen_section(document, (ENVIRONMENTS, name), content)


def misshapen_section(document: YamlDocument, path: Path, content: Any) -> Iterator[Problem]:
    if content is None:
        return
    if not isinstance(content, dict):
        yield wrong(document, path, f"expected fields, found {shown(content)}")
        return
    for field, value in content.items():
        if field in ("defaults", "overrides") and not isinstance(value, (dict, type(None))):
            yield wrong(document, (*path, field), f"expected fields of a spec, found {shown(value)}")
        if field in ("cluster", "domain_suffix") and not isinstance(value, (str, int, float, type(None))):
            yield wrong(document, (*path, field), f"expected a name, found {shown(value)}")
        if field == ENVIRONMENTS:
            yield wrong(document, (*path, field), "environments cannot be nested")


def wrong(document: YamlDocument, path: Path, message: str) -> Problem:
    place = document.position(path) or Position("the spec")
    return Problem(path, message, place.line, place.source)


def base(file: YamlDocument) -> YamlDocument:
    return without(file, (ENVIRONMENTS,))


def section(file: YamlDocument, environment: str | None) -> YamlDocument:
    """The section of a file about an environment, which is noted in all positions."""
    content = part(part(file, ENVIRONMENTS), str(environment))
    places = {path: replace(place, environment=environment) for path, place in content.positions.items()}
    return YamlDocument(content.data, places)


def direct_fields(section: YamlDocument) -> YamlDocument:
    """The fields of a spec that are set directly in an environment."""
    fields = without(section, PLATFORM_FIELDS)
    suffix = section.data.get("domain_suffix")
    if suffix is None:
        return fields
    path = ("exposure", "domain_suffix")
    place = section.positions["domain_suffix",]
    return merge(YamlDocument({"exposure": {path[1]: str(suffix).lstrip(".")}}, {path[:1]: place, path: place}), fields)


def part(document: YamlDocument, field: str) -> YamlDocument:
    """The content of a field as a document of its own."""
    places = {path[1:]: place for path, place in document.positions.items() if path[:1] == (field,)}
    return YamlDocument(document.data.get(field) or {}, places)


def without(document: YamlDocument, fields: Sequence[str]) -> YamlDocument:
    data = {name: value for name, value in document.data.items() if name not in fields}
    return YamlDocument(
        data, {path: place for path, place in document.positions.items() if not path or path[0] not in fields}
    )


def merge(lower: YamlDocument, upper: YamlDocument) -> YamlDocument:
    """The upper document merged over the lower."""
    places = dict(lower.positions)

    def merged(below: Any, above: Any, path: Path) -> Any:
        if isinstance(above, dict) and above and all(isinstance(key, int) for key in above):
            return items(below, above, path)
        if isinstance(above, dict) and isinstance(below, str) and path == ("scaling",):
            below = fields_of_line(below)
        if not (isinstance(below, dict) and isinstance(above, dict)):
            for known in [known for known in places if known[: len(path)] == path]:
                del places[known]
        if not isinstance(above, dict):
            return above
        result = dict(below) if isinstance(below, dict) else {}
        for key, value in above.items():
            result[key] = merged(result.get(key), value, (*path, key))
        return result

    def items(below: Any, above: dict[int, Any], path: Path) -> list[Any]:
        """Replaces single items of a list; the position after the last appends one."""
        result = list(below) if isinstance(below, list) else []
        for position, value in above.items():
            if position > len(result):
                place = upper.positions.get((*path, position)) or Position("the spec")
                raise SpecError([Problem((*path, position), f"there are only {len(result)}", place.line, place.source)])
            old = result[position] if position < len(result) else None
            result[position : position + 1] = [merged(old, value, (*path, position))]
        return result

    data = merged(lower.data, upper.data, ())
    return YamlDocument(
        data, places | {path: place for path, place in upper.positions.items() if path or not lower.positions}
    )


def fields_of_line(text: str) -> Any:
    """A line of scaling rules as fields, so that others can be merged over them."""
    try:
        return parse_line(text)
    except ValueError:
        return text


def drop_nulls(document: YamlDocument) -> None:
    """Removes nulls: values not set, or unset by an environment or a flag. A variable cannot be null."""

    def clean(value: Any, path: Path) -> Any:
        if isinstance(value, list):
            return [clean(item, (*path, position)) for position, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        return {
            key: clean(item, (*path, key))
            for key, item in value.items()
            if item is not None or is_meaningful_null((*path, key), document)
        }

    document.data = clean(document.data, ())


def is_meaningful_null(path: Path, document: YamlDocument) -> bool:
    """Whether null means something else there than leaving the field out."""
    above = models_at(path[:-1])
    if not above:  # a free name, such as that of a variable
        place = document.position(path)
        return place is None or (place.environment is None and place.line is not None)
    fields = [model.model_fields[str(path[-1])] for model in above if path[-1] in model.model_fields]
    return any(field.default is not None and type(None) in members(field.annotation) for field in fields if not
               field.is_required())  # fmt: skip
