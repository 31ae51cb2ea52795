"""Revisions: everything that was said for one deployment. A revision never changes; its sha256 shows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from controlplane.domain.deployments import DeploymentConfig
from controlplane.domain.environments import EnvironmentConfig, spec_of_environment
from controlplane.domain.overlays import differences, merged
from controlplane.domain.secrets import SecretReference
from generator import ModelFacts, ServeSpec

FEATURE_STORE, WORKFLOW = "FT_REDIS_URL", "WORKFLOW_URL"


class Content(BaseModel):
    """What a revision says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    artifact_version: str
    model_uri: str
    infra: dict[str, Any]
    """an overlay in the words of the spec"""
    deployment: DeploymentConfig
    environment: EnvironmentConfig
    """the environment as it was"""
    flavor: str | None = None
    """of the model, as it was found at deployment; a process of this machine finds it by itself"""
    model_size: int | None = None
    """bytes"""

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def sha256(self) -> str:
        canonical = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def spec(self, serve: str) -> dict[str, Any]:
        """The spec of the serve, as the generator takes it."""
        rolling = self.deployment.deployment_strategy_config
        spec = merged(spec_of_environment(self.environment), self.infra)
        spec |= {"name": serve, "model": self.model_uri, "env": {**self.variables(), **spec.get("env", {})}}
        shares = {"surge": rolling.max_surge, "unavailable": rolling.max_unavailable}
        if said := {name: value for name, value in shares.items() if value is not None}:
            spec["rolling"] = said
        return spec

    def variables(self) -> dict[str, Any]:
        """The variables of the environment and of the deployment; the latter win."""
        environment = self.environment
        shared = {FEATURE_STORE: environment.ft_redis_url, WORKFLOW: environment.workflow_url}
        said = {
            name: value.model_dump() if isinstance(value, SecretReference) else value
            for name, value in self.deployment.environment_variables.items()
        }
        return {name: value for name, value in shared.items() if value} | said

    def serve_spec(self, serve: str) -> ServeSpec:
        return ServeSpec.model_validate(self.spec(serve))

    def facts(self) -> dict[str, ModelFacts]:
        """What is known of the model, as the generator takes it."""
        return {} if self.flavor is None else {self.model_uri: ModelFacts(self.flavor, self.model_size)}


def changes(old: Content | None, new: Content) -> list[dict[str, Any]]:
    """The fields that differ, each with its value before and after."""
    before: Mapping[str, Any] = {} if old is None else old.as_json()
    return [{"field": path, "before": was, "after": now} for path, was, now in differences(before, new.as_json())]


def in_sentences(listed: list[dict[str, Any]]) -> list[str]:
    """Changes as one line each."""
    return [f"{each['field']}: {text(each['before'])} → {text(each['after'])}" for each in listed]


def text(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
