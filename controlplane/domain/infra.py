"""The infrastructure of a serve in an environment: the seed's few words, and every word of the spec.

What is stored is an overlay in the words of the spec, so that both ways of saying a thing are one thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from controlplane.domain.bodies import Body, Count
from controlplane.domain.overlays import merged, nested, value_at
from controlplane.domain.problems import FieldProblem, unprocessable
from generator import ServeSpec, SpecError, render

WRAPPERS = ("api_serve_infra_config", "api_serve_config", "fast_api_config")
OWNED = ("name", "namespace", "model", "canary", "revision", "flavor", "model_size")
"""Fields of the spec that the control plane sets itself."""
WORDS: dict[str, tuple[str, ...]] = {
    "cores": ("resources", "cores"),
    "memory": ("resources", "memory"),
    "min_replicas": ("replicas", "min"),
    "max_replicas": ("replicas", "max"),
    "node_capacity_type": ("node_capacity",),
    "additional_hosts": ("exposure", "host"),
}
NODES = {"spot": "spot", "ondemand": "on-demand", "on-demand": "on-demand"}
STAND_IN = {"name": "serve", "model": "models:/model/1", "flavor": "pyfunc", "storage": {"strategy": "server"}}


class InfraConfig(Body):
    """The body of an infra-config; a field that is absent is not changed."""

    backend_type: Literal["fastapi"] | None = None
    """kind of server; there is one"""
    cores: Annotated[int, Field(strict=True, ge=1, le=64)] | None = None
    memory: Annotated[int, Field(strict=True, ge=1, le=512)] | None = None
    """GiB"""
    min_replicas: Count | None = None
    max_replicas: Count | None = None
    node_capacity_type: Literal["spot", "ondemand", "on-demand"] | None = None
    additional_hosts: Annotated[list[str], Field(max_length=1)] | None = None
    """a further host name of the serve"""
    spec: dict[str, Any] | None = None
    """an overlay in the words of the spec, such as {"scaling": "70% CPU"}"""

    def overlay(self) -> dict[str, Any]:
        """What the body names, in the words of the spec; null where it says null. Raises ApiProblem."""
        patch = dict(self.spec or {})
        problems: list[FieldProblem] = []
        for word in self.model_fields_set & set(WORDS):
            path, value = WORDS[word], in_spec(word, getattr(self, word))
            said = value_at(patch, path)
            if said is not None and said != value:
                problems.append(FieldProblem(word, f"differs from spec.{'.'.join(path)}", "one of the two"))
            patch = with_nulls(patch, nested(path, value))
        if problems:
            raise unprocessable(problems)
        return patch


def in_spec(word: str, value: Any) -> Any:
    """The value as the spec has it."""
    if value is None:
        return None
    if word == "memory":
        return f"{value}Gi"
    if word == "node_capacity_type":
        return NODES[value]
    if word == "additional_hosts":
        return value[0] if value else None
    return str(value) if word == "cores" else value


def in_words(overlay: Mapping[str, Any]) -> dict[str, Any]:
    """An overlay in the seed's words, where it has them."""
    words: dict[str, Any] = {"backend_type": "fastapi"}
    for word, path in WORDS.items():
        value = value_at(overlay, path)
        if word == "cores":
            value = int(value) if str(value).isdigit() else value
        elif word == "memory":
            number = str(value).removesuffix("Gi")
            value = int(number) if number.isdigit() else value
        elif word == "node_capacity_type" and value == "on-demand":
            value = "ondemand"
        elif word == "additional_hosts":
            value = [] if value is None else [value]
        words[word] = value
    return words


def with_nulls(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Both patches as one; unlike `merged` it keeps what is to be removed."""
    result = dict(base)
    for key, value in patch.items():
        below = result.get(key)
        result[key] = with_nulls(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def patched(overlay: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The overlay with a patch; raises ApiProblem with all problems of the result, in the words that were sent."""
    result = merged(overlay, patch)
    if problems := overlay_problems(result):
        raise unprocessable([worded(each) for each in problems])
    return result


def worded(problem: FieldProblem) -> FieldProblem:
    """The problem in the seed's words where there is one for the field."""
    path = tuple(problem.field.removeprefix("spec.").split("."))
    word = next((word for word, place in WORDS.items() if place == path), None)
    return problem if word is None else FieldProblem(word, problem.reason, problem.expected)


def overlay_problems(overlay: Mapping[str, Any]) -> list[FieldProblem]:
    """All problems of an overlay, those of the generator's rules included."""
    problems = [
        FieldProblem(f"spec.{name}", "is set by the control plane and cannot be said here")
        for name in OWNED
        if name in overlay
    ]
    if problems:
        return problems
    return list(spec_problems({**STAND_IN, **overlay}))


def spec_problems(data: Mapping[str, Any]) -> Iterator[FieldProblem]:
    try:
        render(ServeSpec.model_validate(data))
    except ValidationError as error:
        for each in error.errors(include_url=False):
            path = ".".join(str(part) for part in each["loc"])
            yield FieldProblem(f"spec.{path}", str(each.get("ctx", {}).get("error", each["msg"])))
    except SpecError as error:
        for problem in error.problems:
            yield FieldProblem(f"spec.{problem.where}", problem.message)


def nested_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the seed's words as a patch in the words of the spec."""
    patch: dict[str, Any] = {}
    for word, value in words.items():
        patch = with_nulls(patch, nested(WORDS[word], value))
    return patch
