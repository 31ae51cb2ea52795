"""What a pod of the predictor is given: resources, a place to run, volumes, variables, identity."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

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
    WordToo,
    word_of,
)


def plain(value: Any) -> Any:
    """The same with numbers that have forgotten how they were written."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, float) else value


Raw = Annotated[dict[str, Any], BeforeValidator(plain)]
"""Kubernetes' own words, passed on as they are."""


class Limits(Part):
    """What a pod may use at most; what it asks for when left out."""

    cores: Cores | None = None
    """CPU that a pod may use; what it asks for when left out"""
    memory: Memory | None = None
    """memory that a pod may use; what it asks for when left out"""


class Resources(Part):
    """What a pod asks for and may use; its limits are what it asks for unless said otherwise."""

    cores: Cores | None = Field(None, description="CPU that a pod asks for, such as 2 or 500m")
    memory: Memory | None = Field(
        None, description="memory that a pod asks for, such as 4Gi; from the model's size if left out"
    )
    gpu: Annotated[int, Field(ge=0)] = 0
    """GPUs of each pod"""
    gpu_resource: LabelKey = "nvidia.com/gpu"
    """the name that the cluster has for a GPU"""
    limits: Limits = Limits()


class NodeCapacity(Part):
    """What a word for node_capacity means on a cluster."""

    node_selector: Labels = {}
    """labels that such nodes have"""
    tolerations: list[Raw] = []
    """taints of such nodes to bear, in Kubernetes' words"""


class Placement(Part):
    """Where pods may run."""

    node_selector: Labels = {}
    """labels that nodes must have"""
    tolerations: list[Raw] = []
    """taints of nodes to bear, in Kubernetes' words"""
    affinity: Raw | None = None
    """in Kubernetes' words"""
    topology_spread: list[Raw] | Literal["zones", "nodes", "off"] = Field(
        "off",
        description="'zones' or 'nodes' spreads the pods evenly as far as possible; or Kubernetes' own constraints",
    )
    priority_class: Name | None = None
    """PriorityClass of the pods"""


class SecretKey(Part):
    """A key of a Secret."""

    secret: Subdomain
    """name of the Secret"""
    key: str
    """key in it"""


class ConfigMapKey(Part):
    """A key of a ConfigMap."""

    config_map: Subdomain
    """name of the ConfigMap"""
    key: str
    """key in it"""


class Mount(Part):
    """A volume: exactly one source."""

    name: Name
    """name of the volume in the pod"""
    path: Annotated[str, Field(pattern=r"^/")]
    """where the predictor sees it"""
    secret: Subdomain | None = None
    """a Secret as files"""
    config_map: Subdomain | None = None
    """a ConfigMap as files"""
    pvc: Subdomain | None = None
    """a PersistentVolumeClaim"""
    empty_dir: Memory | Literal["unlimited"] | None = Field(None, description="a scratch folder of at most this size")
    csi: Raw | None = None
    """a CSI driver's volume, in Kubernetes' words"""
    read_only: bool = True
    """whether the predictor may only read it; a scratch folder it may always write"""


class Security(Part):
    """How little the container may do; the defaults satisfy Kubernetes' restricted policy."""

    run_as_user: Annotated[int, Field(ge=1)] = 65532
    """user id of the server"""
    run_as_group: Annotated[int, Field(ge=0)] = 65532
    """group id of the server"""
    fs_group: Annotated[int, Field(ge=0)] | None = 65532
    """group of the volumes (Standard); null for none"""
    read_only_root: bool = True
    """whether only volumes may be written"""
    seccomp: Literal["RuntimeDefault", "Unconfined"] = "RuntimeDefault"
    """profile of system calls"""
    tmp_size: Memory | None = Field(
        None,
        description="room in /tmp; when left out 1Gi, or no limit where the predictor itself downloads models or "
        "installs packages",
    )


class Probes(Part):
    """When a pod is started, ready and alive: real requests to the server."""

    period: Duration = "5s"
    """between two looks"""
    timeout: Duration = "2s"
    """for an answer"""
    start_within: Duration = Field("10m", description="a pod whose model is not loaded by then is restarted")


class DisruptionBudget(Part):
    """How many pods a drain of nodes must leave; exactly one of both."""

    min_available: Annotated[int, Field(ge=0)] | Share | None = None
    """pods, or percent of them such as 50%, that must stay"""
    max_unavailable: Annotated[int, Field(ge=0)] | Share | None = None
    """pods, or percent of them, that may go"""


class Rolling(Part):
    """How pods are replaced by new ones (Standard only)."""

    surge: Annotated[int, Field(ge=0)] | Share = 1
    """pods, or percent such as 25%, that may be there besides"""
    unavailable: Annotated[int, Field(ge=0)] | Share = 0
    """pods, or percent, that may be missing meanwhile"""

    @model_validator(mode="after")
    def moves(self) -> Rolling:
        if {self.surge, self.unavailable} <= {0, "0%", "00%"}:
            raise ValueError("nothing could ever be replaced: expected surge or unavailable above 0")
        return self


EnvValue = str | bool | int | float | SecretKey | ConfigMapKey
Env = dict[EnvName, Annotated[str, BeforeValidator(word_of), WordToo] | SecretKey | ConfigMapKey]
