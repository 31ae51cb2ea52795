"""Reads the few fields of a serve's spec that matter here; the generator validates the rest.

Monitoring does not import the generator, so a test compares the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from monitoring.objectives import NAMES, Objectives, Unfit
from monitoring.scope import Scope
from monitoring.values import DNS_1123, duration_text, seconds


@dataclass(frozen=True, slots=True)
class ServeOptions:
    scope: Scope
    objectives: Objectives = field(default_factory=Objectives)


def read(file: Path, namespace: str | None = None) -> ServeOptions:
    """The scope and the objectives of a spec; `namespace` overrides the spec's."""
    try:
        content = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unfit("", f"is not YAML: {' '.join(str(error).split())}") from None
    spec = mapping(content, "the spec")
    # Zero pods at times are no reason for an alert.
    windows = mapping(spec.get("scaling"), "scaling").get("schedule") or []
    minimums = [mapping(spec.get("replicas"), "replicas").get("min", 1)]
    minimums += [each.get("min") for each in windows if isinstance(each, dict)]
    scope = Scope(namespace or named(spec, "namespace", "default"), named(spec, "name"), 0 not in minimums)
    return ServeOptions(scope, objectives(mapping(spec.get("monitoring"), "monitoring").get("slo")))


def mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unfit(where, f"expected fields, not {value!r}")
    return value


def named(spec: dict[str, Any], what: str, default: str | None = None) -> str:
    value = spec.get(what, default)
    if not isinstance(value, str) or not re.fullmatch(DNS_1123, value):
        raise Unfit(what, f"expected a name such as fraud, not {value!r}")
    return value


def objectives(slo: Any) -> Objectives:
    where = "monitoring.slo"
    values: dict[str, float | None] = {}
    for name, value in mapping(slo, where).items():
        if name not in NAMES:
            raise Unfit(f"{where}.{name}", f"is no field: expected one of {', '.join(NAMES)}")
        values[name] = None if value is None else number(value, f"{where}.{name}", duration=name != "availability")
    try:
        return Objectives(**values)
    except Unfit as error:
        raise Unfit(f"{where}.{error.field}" if error.field else where, error.message) from None


def number(value: Any, where: str, duration: bool) -> float:
    if not duration:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unfit(where, f"expected percent such as 99.9, not {value!r}")
        return float(value)
    try:
        return round(seconds(str(duration_text(value))), 6)
    except ValueError:
        raise Unfit(where, f"expected a duration such as 500ms or 1s, not {value!r}") from None
