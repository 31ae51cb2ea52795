"""Pydantic's errors in plain words: one sentence for each path, with what was found and what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from generator.problems import Path, Problem, path_text
from generator.spec.scaling import Scaling
from generator.specfile.fields import declared, models_at

# Names in Kubernetes, KServe and other tools for fields that have another name here.
ELSEWHERE = {
    "min_replicas": "replicas.min",
    "max_replicas": "replicas.max",
    "replica_count": "replicas.min",
    "storage_uri": "model",
    "model_uri": "model",
    "model_name": "name",
    "protocol_version": "protocol",
    "deployment_mode": "mode",
    "requests": "resources",
    "cpu": "resources.cores",
    "cpus": "resources.cores",
    "ram": "resources.memory",
    "mem": "resources.memory",
    "memory": "resources.memory",
    "gpus": "resources.gpu",
    "tracking_uri": "tracking.uri",
    "env_vars": "env",
    "cache": "storage.cache",
    "liveness_probe": "probes",
    "readiness_probe": "probes",
    "startup_probe": "probes",
    "canary_traffic_percent": "canary.percent",
    "traffic_percent": "percent",
    "service_account_name": "service_account.name",
    "tag": "image_tag",
    "registry": "image_registry",
    "scale_metric": "scaling",
    "scale_target": "scaling",
    "autoscaling": "scaling",
    "deployment_strategy": "rolling",
    "environment": "environments",
    "timeout_seconds": "timeout",
    "logger": "payload_logger",
}
KINDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "none": "nothing",
}
BOUNDS = {
    "greater_than_equal": ("ge", "{} or more"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "at most {}"),
    "less_than": ("lt", "less than {}"),
}


@dataclass(frozen=True, slots=True)
class ValidationIssue:
    """One of pydantic's errors, and its path in the data."""

    path: Path
    type: str
    input: Any
    context: Mapping[str, Any]
    message: str
    union: Path | None
    """The path of the union that the branch belongs to."""
    branch: str


def problems_of(error: ValidationError, data: Any) -> list[Problem]:
    """All problems, one for each path."""
    issues = likely_branches([located(each, data) for each in error.errors(include_url=False)], data)
    grouped: dict[Path, list[ValidationIssue]] = {}
    for issue in issues:
        grouped.setdefault(issue.path, []).append(issue)
    return [Problem(path, sentence(path, at_path)) for path, at_path in grouped.items()]


def located(error: Any, data: Any) -> ValidationIssue:
    """The error with its path: pydantic's location also holds names of branches, which are left out."""
    loc = error["loc"]
    path: list[str | int] = []
    union: Path | None = None
    branch = ""
    value = data
    for position, part in enumerate(loc):
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value)
        ):
            path.append(part)
            value = value[part]
        elif error["type"] == "missing" and position == len(loc) - 1:
            path.append(part)
        elif part != "[key]" and union is None:
            union, branch = tuple(path), str(part)
    return ValidationIssue(
        tuple(path), str(error["type"]), error["input"], error.get("ctx", {}), error["msg"], union, branch
    )  # fmt: skip


def likely_branches(issues: Sequence[ValidationIssue], data: Any) -> list[ValidationIssue]:
    """Of a union's branches only the one that was meant: for a mapping or a list, the one with the fewest errors."""
    kept = [issue for issue in issues if issue.union is None]
    for union in dict.fromkeys(issue.union for issue in issues if issue.union is not None):
        branches: dict[str, list[ValidationIssue]] = {}
        for issue in issues:
            if issue.union == union:
                branches.setdefault(issue.branch, []).append(issue)
        further: list[list[ValidationIssue]] = [
            each
            for each in branches.values()
            if all(issue.path != union or issue.type in ("value_error", "missing") for issue in each)
        ]
        if further and isinstance(value_at(union, data), (dict, list)):
            kept += sorted(further, key=len)[0]
        else:
            kept += [issue for each in branches.values() for issue in each]
    return kept


def value_at(path: Path, data: Any) -> Any:
    for part in path:
        data = data[part]
    return data


def sentence(path: Path, issues: Sequence[ValidationIssue]) -> str:
    """The problem at one path, which may have failed in several ways."""
    first = issues[0]
    if first.type == "missing":
        return missing(path)
    if first.type == "extra_forbidden":
        return unknown(path)
    for issue in issues:
        if issue.type in ("value_error", "assertion_error"):
            others = [expected(other, path) for other in issues if other is not issue]
            text = str(issue.context.get("error", issue.message))
            return text + "".join(f", or {other}" for other in dict.fromkeys(others) if other)
    alternatives = [text for text in dict.fromkeys(expected(issue, path) for issue in issues) if text]
    close = suggested_word(first.input, issues)
    return f"expected {' or '.join(alternatives)}, found {shown(first.input)}{close}"


def expected(one: ValidationIssue, path: Path) -> str:
    """The values that one branch accepts."""
    if one.type in BOUNDS:
        key, text = BOUNDS[one.type]
        return text.format(f"{one.context[key]:g}")
    if one.type == "literal_error":
        return str(one.context["expected"]).replace("'", "")
    if one.type == "string_too_short":
        return "some text"
    if one.type == "string_too_long":
        return f"at most {one.context['max_length']} characters"
    if one.type == "string_pattern_mismatch":
        pattern = one.context["pattern"]
        return "a path that begins with /" if pattern == "^/" else f"a text such as {pattern}"
    if one.type in ("model_type", "model_attributes_type", "dict_type"):
        return mapping(path)
    if one.type == "int_from_float":
        return KINDS["int"]
    if one.type == "finite_number":
        return "a finite number"
    kind = one.type.partition("_")[0]
    return KINDS.get(kind, one.message.lower().removeprefix("input should be ").partition(",")[0])


def mapping(path: Path) -> str:
    models = models_at(path)
    if not models:
        return KINDS["dict"]
    fields = [name for model in models for name in model.model_fields]
    listed = ", ".join(fields[:6]) + (", …" if len(fields) > 6 else "")
    line = " or a line such as '70% CPU or 100 RPS per pod'" if Scaling in models else ""
    return f"fields ({listed}){line}"


def missing(path: Path) -> str:
    fields = [model.model_fields[str(path[-1])] for model in models_at(path[:-1]) if path[-1] in model.model_fields]
    what = next((field.description for field in fields if field.description), None)
    return "is missing" + (f": {what}" if what else "")


def unknown(path: Path) -> str:
    """A field that does not exist; a similar name is most often what was meant."""
    name, above = str(path[-1]), path[:-1]
    here = list(dict.fromkeys(field for model in models_at(above) for field in model.model_fields))
    if not above:
        here.append("environments")
    if guess := suggestion(name, above, here):
        return f"is not a field: did you mean {guess}?"
    return f"is not a field of {path_text(above) if above else 'a spec'}: expected one of {', '.join(here)}"


def suggestion(name: str, above: Path, here: Sequence[str]) -> str | None:
    plain = snake(name)
    if plain in here:
        return plain
    if plain in ELSEWHERE and ELSEWHERE[plain] != path_text(above):
        last = ELSEWHERE[plain].rpartition(".")[2]
        return last if last in here else ELSEWHERE[plain]
    if swapped := next((field for field in here if sorted(field) == sorted(plain)), None):
        return swapped  # two letters swapped: modle is model, although mode is closer
    if close := difflib.get_close_matches(plain, here, n=1, cutoff=0.66):
        return close[0]
    places = paths_by_name().get(plain, [])
    inner = [place for place in places if place[: len(above)] == above] or places
    return path_text(min(inner, key=len)) if inner else None


@cache
def paths_by_name() -> dict[str, list[Path]]:
    """The paths of all fields, by name."""
    paths: dict[str, list[Path]] = {}
    for each in declared():
        paths.setdefault(str(each.path[-1]), []).append(each.path)
    return paths


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def suggested_word(value: Any, issues: Iterable[ValidationIssue]) -> str:
    """The allowed word that was probably meant."""
    if not isinstance(value, str):
        return ""
    literals = [str(issue.context["expected"]) for issue in issues if issue.type == "literal_error"]
    folded = {word.lower(): word for literal in literals for word in re.findall(r"'([^']*)'", literal)}
    close = difflib.get_close_matches(value.lower(), folded, n=1, cutoff=0.6)
    return f": did you mean {folded[close[0]]}?" if close else ""


def shown(value: Any) -> str:
    """A value in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)[:60]
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "…")
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "fields" if value else "an empty mapping"
