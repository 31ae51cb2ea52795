"""Environments: where serves run, with what they have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from controlplane.domain.bodies import Body, EnvironmentName, Text
from controlplane.domain.infra import overlay_problems

WRAPPER = "environment_configs"


class Quotas(Body):
    """What all serves of an environment may have together; no limit where nothing is said."""

    serves: Annotated[int, Field(strict=True, ge=0)] | None = None
    replicas: Annotated[int, Field(strict=True, ge=0)] | None = None
    """maximum number of replicas, counted with the maximum of each serve"""
    cores: Annotated[float, Field(ge=0)] | None = None
    memory: Annotated[float, Field(ge=0)] | None = None
    """GiB"""


class EnvironmentConfig(Body):
    """The configuration of an environment."""

    backend: Literal["local"] = "local"
    """where its serves run: 'local' is processes on the control plane's machine"""
    domain_suffix: Text = ""
    """suffix of the addresses of serves, such as .mycompany.com"""
    cluster_name: Text = ""
    namespace: Annotated[str, Field(max_length=63, pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$")] = ""
    security_group: Text = ""
    """security groups, separated by commas"""
    subnets: Text = ""
    """subnets, separated by commas"""
    ft_redis_url: Text = ""
    """URL of the feature store's Redis; serves get it as FT_REDIS_URL"""
    workflow_url: Text = ""
    """URL of the workflow service; serves get it as WORKFLOW_URL"""
    tracking_uri: Text = ""
    """URL of the MLflow tracking server; default: that of the control plane's own environment"""
    quotas: Quotas = Quotas()
    spec: dict[str, Any] = {}  # noqa: RUF012 - pydantic gives every instance its own
    """defaults of the spec for serves of this environment"""

    @field_validator("ft_redis_url", "workflow_url", "tracking_uri")
    @classmethod
    def without_password(cls, url: str) -> str:
        if "@" in url.partition("://")[2].partition("/")[0] and ":" in url.partition("://")[2].partition("@")[0]:
            raise ValueError("holds a password, which is not stored: name a secret in the serve's variables instead")
        return url

    @field_validator("spec")
    @classmethod
    def valid_spec(cls, spec: dict[str, Any]) -> dict[str, Any]:
        if problems := overlay_problems(spec):
            raise ValueError("; ".join(f"{each.field}: {each.reason}" for each in problems))
        return spec


class NewEnvironment(EnvironmentConfig):
    """The body that makes an environment."""

    name: EnvironmentName

    def config(self) -> EnvironmentConfig:
        return EnvironmentConfig(**self.model_dump(exclude={"name"}))
