"""Pods of the predictor: resources, placement, volumes, variables, security, probes."""

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
    """The value with plain numbers, which no longer know their spelling in the file."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, float) else value


Raw = Annotated[dict[str, Any], BeforeValidator(plain)]
"""Kubernetes' own fields, passed on unchanged."""


class Limits(Part):
    """Limits of a pod; default: its requests."""

    cores: Cores | None = None
    """CPU limit; default: the request"""
    memory: Memory | None = None
    """memory limit; default: the request"""


class Resources(Part):
    """Requests and limits of a pod; limits default to the requests."""

    cores: Cores | None = Field(None, description="CPU request of a pod, such as 2 or 500m")
    memory: Memory | None = Field(
        None, description="memory request of a pod, such as 4Gi; default: from the model's size"
    )
    gpu: Annotated[int, Field(ge=0)] = 0
    """number of GPUs per pod"""
    gpu_resource: LabelKey = "nvidia.com/gpu"
    """resource name of a GPU on the cluster"""
    limits: Limits = Limits()


class NodeCapacity(Part):
    """Node selector and tolerations of a kind of node."""

    node_selector: Labels = {}
    """labels of these nodes"""
    tolerations: list[Raw] = []
    """tolerations of their taints, as in Kubernetes"""


class Placement(Part):
    """Nodes on which pods may run."""

    node_selector: Labels = {}
    """labels that nodes must have"""
    tolerations: list[Raw] = []
    """tolerations of node taints, as in Kubernetes"""
    affinity: Raw | None = None
    """affinity, as in Kubernetes"""
    topology_spread: list[Raw] | Literal["zones", "nodes", "off"] = Field(
        "off",
        description="'zones' or 'nodes' spreads the pods as evenly as possible; or constraints as in Kubernetes",
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
    """A volume with exactly one source."""

    name: Name
    """name of the volume in the pod"""
    path: Annotated[str, Field(pattern=r"^/")]
    """mount path in the predictor's container"""
    secret: Subdomain | None = None
    """a Secret as files"""
    config_map: Subdomain | None = None
    """a ConfigMap as files"""
    pvc: Subdomain | None = None
    """a PersistentVolumeClaim"""
    empty_dir: Memory | Literal["unlimited"] | None = Field(None, description="size limit of a scratch folder")
    csi: Raw | None = None
    """a volume of a CSI driver, as in Kubernetes"""
    read_only: bool = True
    """whether the volume is read-only; a scratch folder never is"""


class Security(Part):
    """Security context of the container; the defaults satisfy Kubernetes' restricted policy."""

    run_as_user: Annotated[int, Field(ge=1)] = 65532
    """user id of the server"""
    run_as_group: Annotated[int, Field(ge=0)] = 65532
    """group id of the server"""
    fs_group: Annotated[int, Field(ge=0)] | None = 65532
    """group of the volumes (Standard); null for none"""
    read_only_root: bool = True
    """whether the root file system is read-only"""
    seccomp: Literal["RuntimeDefault", "Unconfined"] = "RuntimeDefault"
    """seccomp profile"""
    tmp_size: Memory | None = Field(
        None,
        description="size limit of /tmp; default: 1Gi, or none where the predictor itself downloads models or installs "
        "packages",
    )


class Probes(Part):
    """Startup, readiness and liveness probes, which are real requests to the server."""

    period: Duration = "5s"
    """time between two probes"""
    timeout: Duration = "2s"
    """time limit for a response"""
    start_within: Duration = Field(
        "10m",
        description="time limit for loading the model, after which the pod is restarted; a model that hangs is given "
        "up a little earlier, so that the log has the reason",
    )


class DisruptionBudget(Part):
    """Number of pods that must survive a node drain; exactly one of the two fields."""

    min_available: Annotated[int, Field(ge=0)] | Share | None = None
    """minimum of available pods, as a number or a percentage such as 50%"""
    max_unavailable: Annotated[int, Field(ge=0)] | Share | None = None
    """maximum of unavailable pods, as a number or a percentage"""


class Rolling(Part):
    """Rolling replacement of pods (Standard only)."""

    surge: Annotated[int, Field(ge=0)] | Share = 1
    """maximum of extra pods, as a number or a percentage such as 25%"""
    unavailable: Annotated[int, Field(ge=0)] | Share = 0
    """maximum of missing pods, as a number or a percentage"""

    @model_validator(mode="after")
    def something_is_replaced(self) -> Rolling:
        if {self.surge, self.unavailable} <= {0, "0%", "00%"}:
            raise ValueError("no pod could ever be replaced: expected surge or unavailable above 0")
        return self


EnvValue = str | bool | int | float | SecretKey | ConfigMapKey
Env = dict[EnvName, Annotated[str, BeforeValidator(word_of), WordToo] | SecretKey | ConfigMapKey]
