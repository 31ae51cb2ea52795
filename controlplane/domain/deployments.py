"""Requests to deploy: an artifact with its variables, or a model in one step."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator
from typing_extensions import TypedDict

from controlplane.domain.artifacts import ModelUri
from controlplane.domain.bodies import Body, Count, EnvironmentName, ServeName, VersionName
from controlplane.domain.infra import in_spec, nested_words
from controlplane.domain.rollouts import Strategy, StrategyConfig, TrafficPlan, plan_of
from controlplane.domain.secrets import SecretReference
from generator import FlavorName

WRAPPER = "api_serve_deployment_config"
SECRET_NAME = re.compile(r"(?i)password|passwd|secret|token|api_?key|access_?key|private_?key|credential")
MAX_REVISION = 2**31 - 1  # what databases number rows with
WORD_OF = {"node_capacity": "node_capacity_type"}
"""Fields of deploy-model that an infra-config calls otherwise."""
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


Variables = dict[str, str | SecretReference]


Follow = Literal["hot", "rollout", "off"]


class DeploymentConfig(Body):
    """How a revision is rolled out, and its variables."""

    deployment_strategy: Strategy = "rolling"
    """how the requests come to it: all at once, or by steps"""
    deployment_strategy_config: StrategyConfig = StrategyConfig()
    environment_variables: Variables = {}  # noqa: RUF012 - pydantic gives every instance its own
    follow: Follow = "hot"
    """a model URI that moves: 'hot' has the server load what it names, 'rollout' makes each version that it names a
    revision, 'off' serves what it named at deployment"""

    @field_validator("deployment_strategy_config")
    @classmethod
    def plannable(cls, config: StrategyConfig, info: ValidationInfo) -> StrategyConfig:
        if "deployment_strategy" in info.data:
            plan_of(info.data["deployment_strategy"], config)
        return config

    def plan(self) -> TrafficPlan:
        """The steps of the rollout."""
        return plan_of(self.deployment_strategy, self.deployment_strategy_config)

    @field_validator("environment_variables")
    @classmethod
    def no_secrets(cls, variables: Variables) -> Variables:
        for name, value in variables.items():
            if not VARIABLE_NAME.fullmatch(name):
                raise ValueError(f"{name[:40]!r} is not the name of a variable")
            if isinstance(value, str) and SECRET_NAME.search(name):
                raise ValueError(f"{name}: secrets are not stored: expected {{'secret': NAME, 'key': KEY}}")
        return variables


class Deploy(DeploymentConfig):
    """The body of `deploy`."""

    env: EnvironmentName
    artifact_version: VersionName
    flavor: FlavorName | None = None
    """flavor of the model, for a cluster whose models the control plane cannot read; default: from its MLmodel file"""
    reason: Annotated[str, Field(max_length=1000)] = ""

    def config(self) -> DeploymentConfig:
        return DeploymentConfig(**self.model_dump(exclude={"env", "artifact_version", "flavor", "reason"}))


class DeployModel(Body):
    """The body of `deploy-model`."""

    serve_name: ServeName
    model_uri: ModelUri
    env: EnvironmentName
    artifact_version: VersionName | None = None
    """default: v1, v2, … and the same as before for the same model"""
    storage_strategy: Literal["auto", "emptydir", "pvc"] = "auto"
    """how the model reaches a pod"""
    cores: Annotated[int, Field(strict=True, ge=1, le=64)] = 4
    memory: Annotated[int, Field(strict=True, ge=1, le=512)] = 8
    """GiB"""
    node_capacity: Literal["spot", "ondemand"] | None = None
    min_replicas: Count = 1
    max_replicas: Count = 1
    deployment_strategy: Strategy | None = None
    """default: as before, and 'rolling' at first"""
    deployment_strategy_config: StrategyConfig | None = None
    environment_variables: Variables | None = None
    follow: Follow | None = None
    """default: as before, and 'hot' at first"""
    flavor: FlavorName | None = None
    """flavor of the model, for a cluster whose models the control plane cannot read; default: from its MLmodel file"""
    reason: Annotated[str, Field(max_length=1000)] = ""

    @field_validator("environment_variables")
    @classmethod
    def no_secrets(cls, variables: Variables | None) -> Variables | None:
        return None if variables is None else DeploymentConfig.no_secrets(variables)

    @field_validator("deployment_strategy_config")
    @classmethod
    def plannable(cls, config: StrategyConfig | None, info: ValidationInfo) -> StrategyConfig | None:
        if config is not None and (strategy := info.data.get("deployment_strategy")) is not None:
            plan_of(strategy, config)
        elif config is not None and "deployment_strategy" in info.data:
            raise ValueError("deployment_strategy is missing: expected the strategy that these fields are of")
        return config

    @model_validator(mode="after")
    def ordered(self) -> DeployModel:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}")
        return self

    def deployment(self, before: DeploymentConfig) -> DeploymentConfig:
        """How it is deployed: as before, unless the body says otherwise."""
        names = ("deployment_strategy", "environment_variables", "follow")
        said = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.deployment_strategy is not None:
            said["deployment_strategy_config"] = self.deployment_strategy_config or StrategyConfig()
        return before.model_copy(update=said)

    def overlay(self) -> dict[str, Any]:
        """The infrastructure of a new serve, in the words of the spec."""
        return self.in_spec(set(type(self).model_fields))

    def named_overlay(self) -> dict[str, Any]:
        """The infrastructure that the body names, in the words of the spec."""
        return self.in_spec(self.model_fields_set)

    def in_spec(self, names: Set[str]) -> dict[str, Any]:
        words = {
            "cores": self.cores,
            "memory": self.memory,
            "min_replicas": self.min_replicas,
            "max_replicas": self.max_replicas,
            "node_capacity": self.node_capacity,
        }
        said = {WORD_OF.get(word, word): value for word, value in words.items() if word in names and value is not None}
        patch = nested_words({word: in_spec(word, value) for word, value in said.items()})
        return patch | ({"storage": {"strategy": self.storage_strategy}} if "storage_strategy" in names else {})


class AppliedSpec(Body):
    """The body of `apply`: a spec as in a file, which says all of a serve."""

    env: EnvironmentName
    spec: dict[str, Any]
    """the spec in its own words; namespace, canaries and images are those of the environment"""
    artifact_version: VersionName | None = None
    """default: v1, v2, … and the same as before for the same model"""
    reason: Annotated[str, Field(max_length=1000)] = ""

    @field_validator("spec")
    @classmethod
    def names_a_serve(cls, spec: dict[str, Any]) -> dict[str, Any]:
        try:
            NAMED_MODEL.validate_python({"name": spec.get("name"), "model": spec.get("model")})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{first['loc'][0]}: {first.get('ctx', {}).get('error', first['msg'])}") from None
        return spec

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def model(self) -> str:
        return str(self.spec["model"])

    @property
    def flavor(self) -> Any:
        return self.spec.get("flavor")

    def overlay(self) -> dict[str, Any]:
        """The infrastructure."""
        return {name: value for name, value in self.spec.items() if name not in ("name", "model", "flavor")}


class NamedModel(TypedDict):
    name: ServeName
    model: ModelUri


NAMED_MODEL = TypeAdapter(NamedModel)


class UndeployModel(Body):
    """The body of `undeploy-model`."""

    serve_name: ServeName
    env: EnvironmentName


class RollBack(Body):
    """The body of `rollback`."""

    env: EnvironmentName
    revision: Annotated[int, Field(strict=True, ge=1, le=MAX_REVISION)]
    reason: Annotated[str, Field(max_length=1000)] = ""


class ApprovalReason(Body):
    """The body of what an approver says."""

    reason: Annotated[str, Field(max_length=1000)] = ""
