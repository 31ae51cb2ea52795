"""The spellings of a model's URI."""

from __future__ import annotations

import re

KSERVE_SCHEME = "mlflow://"
SPELLINGS = {"models": "models:/", "runs": "runs:/", "artifacts": "mlflow-artifacts:/"}
# Names under which the same files are found tomorrow; MLflow writes the artifacts of a run once.
IMMUTABLE = re.compile(r"models:/(m-[^/]+|[^/@]+/\d+)(/.*)?|runs:/.+|mlflow-artifacts:/.+|hf://.+:[0-9a-f]{40}")


def spelled(uri: str) -> str:
    """As MLflow spells it: KServe asks for `://`, so that mlflow://models/fraud@champion is models:/fraud@champion."""
    if not uri.startswith(KSERVE_SCHEME):
        return uri
    rest = uri.removeprefix(KSERVE_SCHEME)
    if re.match(r"(models|runs|mlflow-artifacts):/", rest):
        return rest
    kind, _, path = rest.partition("/")
    if kind not in SPELLINGS or not path:
        raise ValueError("expected mlflow://models/…, mlflow://runs/… or mlflow://artifacts/…")
    return SPELLINGS[kind] + path


def is_moving(uri: str) -> bool:
    """Whether a registered model, as MLflow spells it, may be another version tomorrow."""
    if not uri.startswith("models:/") or uri.startswith(("models://", "models:/m-")):
        return False
    return "@" in uri or not uri.rpartition("/")[2].isdigit()


def scheme_of(uri: str) -> str:
    found = re.match(r"([a-z][a-z0-9+.-]*):/", uri)
    return found[1] if found else ""


def is_immutable(resolved_uri: str) -> bool:
    """Whether what it names cannot change, so that a copy of it can be kept."""
    return IMMUTABLE.fullmatch(resolved_uri) is not None
