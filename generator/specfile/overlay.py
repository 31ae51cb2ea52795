"""One spec from several: the file, its environments, those that the platform shares, and flags. No I/O here.

The later wins: defaults of the shared environment, defaults of the file's environment, the spec itself, what the
shared environment says, what the file's environment says, flags. Mappings are merged, lists and values replaced, and
null takes away what was said before.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generator.problems import Path, Problem, SpecError, at
from generator.spec.scaling import parse_line
from generator.specfile.fields import inside, models_at
from generator.specfile.messages import shown
from generator.specfile.yaml_text import Position, Written

ENVIRONMENTS = "environments"
PLATFORM_FIELDS = ("cluster", "domain_suffix", "defaults", "overrides")
"""What an environment has besides the fields of a spec."""


@dataclass(frozen=True, slots=True)
class Layered:
    """What all layers say together."""

    written: Written
    environment: str | None = None
    cluster: str | None = None
    """The name of the environment's cluster: the context of kubectl."""


def layered(
    file: Written, environment: str | None = None, shared: Written | None = None, flags: Iterable[Written] = ()
) -> Layered:
    """The spec for an environment, with the place of each of its values; SpecError if the layers do not fit."""
    known = {name: None for each in (shared, file) if each for name in names(each)}
    if environment is not None and environment not in known:
        raise SpecError([at(source_of(file), None, unknown(environment, list(known)))])
    sections = [section(each, environment) for each in (shared, file) if each and environment in names(each)]
    found = Written({})
    for each in sections:
        found = over(found, part(each, "defaults"))
    found = over(found, base(file))
    cluster = None
    for each in sections:
        found = over(over(found, direct(each)), part(each, "overrides"))
        cluster = each.data.get("cluster") or cluster
    for flag in flags:
        found = over(found, flag)
    without_nothing(found)
    return Layered(found, environment, None if cluster is None else str(cluster))


def unknown(environment: str, known: Sequence[str]) -> str:
    if not known:
        return f"has no environment {environment!r}: expected environments: {{{environment}: …}}"
    close = difflib.get_close_matches(environment, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"has no environment {environment!r}: {guess}There are {', '.join(known)}"


def source_of(written: Written) -> str:
    return written.places[()].source if () in written.places else "the spec"


def names(written: Written) -> list[str]:
    """The environments of a file."""
    found = written.data.get(ENVIRONMENTS) if isinstance(written.data, dict) else None
    return list(found) if isinstance(found, dict) else []


def misshapen(written: Written) -> Iterator[Problem]:
    """What cannot be layered at all."""
    data = written.data
    if not isinstance(data, dict):
        yield wrong(written, (), f"expected fields such as name: and model:, found {shown(data)}")
    elif "apiVersion" in data and "kind" in data:
        what = f"{data['kind']} of Kubernetes"
        yield wrong(written, (), f"is a {what}, not a spec: expected name, model and what else is said of the serve")
    elif not isinstance(data.get(ENVIRONMENTS, {}), dict):
        path = (ENVIRONMENTS,)
        yield wrong(written, path, f"expected environments by name, found {shown(data[ENVIRONMENTS])}")
    else:
        for name, content in (data.get(ENVIRONMENTS) or {}).items():
            yield from misshapen_section(written, (ENVIRONMENTS, name), content)


def misshapen_section(written: Written, path: Path, content: Any) -> Iterator[Problem]:
    if content is None:
        return
    if not isinstance(content, dict):
        yield wrong(written, path, f"expected fields, found {shown(content)}")
        return
    for field, value in content.items():
        if field in ("defaults", "overrides") and not isinstance(value, (dict, type(None))):
            yield wrong(written, (*path, field), f"expected fields of a spec, found {shown(value)}")
        if field in ("cluster", "domain_suffix") and not isinstance(value, (str, int, float, type(None))):
            yield wrong(written, (*path, field), f"expected a name, found {shown(value)}")
        if field == ENVIRONMENTS:
            yield wrong(written, (*path, field), "environments have none of their own")


def wrong(written: Written, path: Path, message: str) -> Problem:
    place = written.place(path) or Position("the spec")
    return Problem(path, message, place.line, place.source)


def base(file: Written) -> Written:
    return without(file, (ENVIRONMENTS,))


def section(file: Written, environment: str | None) -> Written:
    """What a file says of an environment; every place knows which."""
    found = part(part(file, ENVIRONMENTS), str(environment))
    places = {path: replace(place, environment=environment) for path, place in found.places.items()}
    return Written(found.data, places)


def direct(section: Written) -> Written:
    """The fields of a spec that an environment has itself."""
    found = without(section, PLATFORM_FIELDS)
    suffix = section.data.get("domain_suffix")
    if suffix is None:
        return found
    path = ("exposure", "domain_suffix")
    place = section.places["domain_suffix",]
    return over(Written({"exposure": {path[1]: str(suffix).lstrip(".")}}, {path[:1]: place, path: place}), found)


def part(written: Written, field: str) -> Written:
    """What stands below a field, as if it were the whole."""
    places = {path[1:]: place for path, place in written.places.items() if path[:1] == (field,)}
    return Written(written.data.get(field) or {}, places)


def without(written: Written, fields: Sequence[str]) -> Written:
    data = {name: value for name, value in written.data.items() if name not in fields}
    return Written(data, {path: place for path, place in written.places.items() if not path or path[0] not in fields})


def over(lower: Written, upper: Written) -> Written:
    """The upper laid over the lower."""
    places = dict(lower.places)

    def merged(below: Any, above: Any, path: Path) -> Any:
        if isinstance(above, dict) and above and all(isinstance(key, int) for key in above):
            return items(below, above, path)
        if isinstance(above, dict) and isinstance(below, str) and path == ("scaling",):
            below = line_of(below)
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
        """Single items of a list, by their positions; the one after the last is a new one."""
        result = list(below) if isinstance(below, list) else []
        for position, value in above.items():
            if position > len(result):
                place = upper.places.get((*path, position)) or Position("the spec")
                raise SpecError([Problem((*path, position), f"there are only {len(result)}", place.line, place.source)])
            old = result[position] if position < len(result) else None
            result[position : position + 1] = [merged(old, value, (*path, position))]
        return result

    data = merged(lower.data, upper.data, ())
    return Written(data, places | {path: place for path, place in upper.places.items() if path or not lower.places})


def line_of(text: str) -> Any:
    """A line of scaling rules as fields, so that others can be laid over them."""
    try:
        return parse_line(text)
    except ValueError:
        return text


def without_nothing(written: Written) -> None:
    """Takes out what is null: not said, or taken back by an environment or a flag. A variable cannot be null."""

    def clean(value: Any, path: Path) -> Any:
        if isinstance(value, list):
            return [clean(item, (*path, position)) for position, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        return {
            key: clean(item, (*path, key))
            for key, item in value.items()
            if item is not None or says_something((*path, key), written)
        }

    written.data = clean(written.data, ())


def says_something(path: Path, written: Written) -> bool:
    """Whether null is more there than a field left out."""
    above = models_at(path[:-1])
    if not above:  # a free name, such as that of a variable
        place = written.place(path)
        return place is None or (place.environment is None and place.line is not None)
    fields = [model.model_fields[str(path[-1])] for model in above if path[-1] in model.model_fields]
    return any(field.default is not None and type(None) in inside(field.annotation) for field in fields if not
               field.is_required())  # fmt: skip
