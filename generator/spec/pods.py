"""What a pod of the predictor is given: resources, a place to run, volumes, variables, identity."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from generator.spec.values import (
    Cores,
    Duration,
    EnvName,
    LabelKey,
    Labels,
    Memory,
    Name,
    Part,
    Share,
    Subdomain,
)

Raw = dict[str, Any]
"""Kubernetes' own words, passed on as they are."""


class Limits(Part):
    """What a pod may use at most; what it asks for when left out."""

    cores: Cores | None = None
    memory: Memory | None = None


class Resources(Part):
    """What a pod asks for and may use. Memory is guaranteed: its limit is what it asks for unless said otherwise."""

    cores: Cores | None = Field(None, description="CPU that a pod asks for, such as 2 or 500m")
    memory: Memory | None = Field(
        None, description="memory that a pod asks for, such as 4Gi; from the model's size if left out"
    )
    gpu: Annotated[int, Field(ge=0)] = 0
    gpu_resource: LabelKey = "nvidia.com/gpu"
    limits: Limits = Limits()


class NodeCapacity(Part):
    """What a word for node_capacity means on a cluster."""

    node_selector: Labels = {}
    tolerations: list[Raw] = []


class Placement(Part):
    """Where pods may run."""

    node_selector: Labels = {}
    tolerations: list[Raw] = []
    affinity: Raw | None = None
    topology_spread: list[Raw] | Literal["zones", "nodes", "off"] = Field(
        "off",
        description="'zones' or 'nodes' spreads the pods evenly as far as possible; or Kubernetes' own constraints",
    )
    priority_class: Name | None = None


class SecretKey(Part):
    secret: Subdomain
    key: str


class ConfigMapKey(Part):
    config_map: Subdomain
    key: str


class Mount(Part):
    """A volume: exactly one source."""

    name: Name
    path: Annotated[str, Field(pattern=r"^/")]
    secret: Subdomain | None = None
    config_map: Subdomain | None = None
    pvc: Subdomain | None = None
    empty_dir: Memory | Literal["unlimited"] | None = Field(None, description="a scratch folder of at most this size")
    csi: Raw | None = None
    read_only: bool = True


class Security(Part):
    """How little the container may do; the defaults satisfy Kubernetes' restricted policy."""

    run_as_user: Annotated[int, Field(ge=1)] = 65532
    run_as_group: Annotated[int, Field(ge=0)] = 65532
    fs_group: Annotated[int, Field(ge=0)] | None = 65532
    read_only_root: bool = True
    seccomp: Literal["RuntimeDefault", "Localhost", "Unconfined"] = "RuntimeDefault"
    tmp_size: Memory = "1Gi"


class Probes(Part):
    """When a pod is started, ready and alive: real requests to the server."""

    period: Duration = "5s"
    timeout: Duration = "2s"
    start_within: Duration = Field("10m", description="a pod whose model is not loaded by then is restarted")


class DisruptionBudget(Part):
    """How many pods a drain of nodes must leave; exactly one of both."""

    min_available: Annotated[int, Field(ge=0)] | Share | None = None
    max_unavailable: Annotated[int, Field(ge=0)] | Share | None = None


class Rolling(Part):
    """How pods are replaced by new ones (Standard only)."""

    surge: Annotated[int, Field(ge=0)] | str = 1
    unavailable: Annotated[int, Field(ge=0)] | str = 0


EnvValue = str | bool | int | float | SecretKey | ConfigMapKey
Env = dict[EnvName, EnvValue]
