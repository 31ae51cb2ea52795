"""The spec of a serve: everything that a person says about it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from generator.spec.network import Exposure, Istio, NetworkPolicy
from generator.spec.operate import (
    Auth,
    Batcher,
    Dependencies,
    Feast,
    Logging,
    Monitoring,
    PayloadLogger,
    Reload,
    ServiceAccount,
    Tracing,
)
from generator.spec.pods import (
    DisruptionBudget,
    Env,
    Mount,
    NodeCapacity,
    Placement,
    Probes,
    Resources,
    Rolling,
    Security,
)
from generator.spec.prediction_log import Drift, PredictionLog
from generator.spec.scaling import Replicas, Scaling
from generator.spec.storage import Storage, Tracking
from generator.spec.values import (
    Annotations,
    Duration,
    Labels,
    Memory,
    Name,
    NumberToo,
    Part,
    Percent,
    Subdomain,
    matching,
)
from predictors.flavor import BY_NAME, IMAGE_REGISTRY

Mode = Literal["Standard", "Knative"]
Protocol = Literal["v1", "v2", "grpc"]
FLAVORS = tuple(BY_NAME)
FlavorName = Literal[FLAVORS]  # type: ignore[valid-type]
ModelUri = Annotated[
    str, Field(min_length=1, description="models:/name@alias, models:/name/3, runs:/…, s3://…, pvc://…")
]
Version = Annotated[str, matching(r"\d+\.\d+(\.\d+)?", "a version of KServe: expected such as 0.21"), NumberToo]

NODE_CAPACITIES = {
    "spot": NodeCapacity(
        node_selector={"karpenter.sh/capacity-type": "spot"},
        tolerations=[
            {"key": "karpenter.sh/capacity-type", "operator": "Equal", "value": "spot", "effect": "NoSchedule"}
        ],
    ),
    "on-demand": NodeCapacity(node_selector={"karpenter.sh/capacity-type": "on-demand"}),
}


class Canary(Part):
    """A second model that gets a part of the traffic."""

    model: ModelUri
    percent: Percent
    """percent of the traffic that it gets"""
    name: Name | None = Field(
        None, description="name of its predictor (Standard); from the model's version when left out"
    )
    flavor: FlavorName | None = None
    """its flavor; from its MLmodel file, or that of the stable model, when left out"""
    image: str | None = None
    """its image; the one for its flavor when left out"""
    replicas: Annotated[int, Field(ge=1)] | None = Field(
        None, description="pods of the canary (Standard); its share of the traffic when left out"
    )


class ServeSpec(Part):
    """Everything that a person says about a serve; only name and model have to be said."""

    name: Name = Field(description="name of the InferenceService, and of the model in URLs")
    model: ModelUri
    namespace: Name = "default"
    """namespace of everything that is emitted"""
    canary: Canary | None = None
    revision: Name | None = Field(
        None, description="name of the stable predictor, as a promotion of a named canary leaves it (Standard)"
    )

    flavor: FlavorName | None = Field(None, description="read from the model's MLmodel file when left out")
    model_size: Memory | None = Field(None, description="read from the model's MLmodel file when left out")

    mode: Mode = Field("Standard", description="KServe's deployment mode")
    kserve: Version = Field("0.21", description="version of KServe on the cluster")
    protocol: Protocol = "v2"
    """what callers speak first; 'grpc' makes the gRPC port the one that the service leads to"""
    predictor: Literal["container", "runtime"] = Field(
        "container", description="a container of ours, or a reference to a ServingRuntime with modelFormat mlflow"
    )
    runtime: Name | None = Field(None, description="the ServingRuntime; the one for the flavor when left out")
    image: str | None = Field(None, description="image of the predictor; the one for the flavor when left out")
    image_registry: str = IMAGE_REGISTRY
    """where images come from when none is named"""
    image_tag: Annotated[str, NumberToo] = "latest"
    """their tag"""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """when nodes pull images; when left out IfNotPresent, also for the tag latest"""
    image_pull_secrets: list[Subdomain] = []
    """Secrets of type kubernetes.io/dockerconfigjson"""

    replicas: Replicas = Replicas()
    scaling: Scaling = Scaling()
    resources: Resources = Resources()
    node_capacity: str | None = Field(None, description="a word for a kind of node, such as spot or on-demand")
    node_capacities: dict[str, NodeCapacity] = Field(
        NODE_CAPACITIES, description="what these words mean on the cluster"
    )
    placement: Placement = Placement()
    rolling: Rolling | None = Field(
        None, description="how pods are replaced (Standard); one more, none less, when left out"
    )
    disruption_budget: DisruptionBudget | Literal["auto", "off"] = "auto"
    workers: Annotated[int, Field(ge=1, le=256)] = Field(1, description="server processes in each pod")

    storage: Storage = Storage()
    tracking: Tracking = Tracking()
    volumes: list[Mount] = []
    """more volumes of the predictor's container"""
    env: Env = {}
    """more variables of the predictor: text, {secret, key} or {config_map, key}"""
    env_from: list[Subdomain] = Field([], description="Secrets whose keys all become variables")
    args: list[str] = Field([], description="more flags of the predictor")

    labels: Labels = {}
    """more labels of everything that is emitted"""
    annotations: Annotations = {}
    """more annotations of the InferenceService, and so of its pods"""
    service_account: ServiceAccount = ServiceAccount()
    security: Security | Literal["off"] = Security()
    probes: Probes = Probes()
    timeout: Duration = Field("60s", description="for an answer")
    container_concurrency: Annotated[int, Field(ge=0)] | None = Field(
        None, description="requests that a pod is given at a time (Knative)"
    )
    drain_delay: Duration = Field("10s", description="between the end of readiness and the end of new connections")
    grace_period: Duration = Field("30s", description="for requests in flight after that")

    exposure: Exposure = Exposure()
    network_policy: NetworkPolicy | None = None
    istio: Istio | None = None

    reload: Reload = Reload()
    dependencies: Dependencies = Dependencies()
    auth: Auth = Auth()
    batcher: Batcher | None = None
    payload_logger: PayloadLogger | None = None
    logging: Logging = Logging()
    tracing: Tracing | None = None
    feast: Feast | None = None
    prediction_log: PredictionLog | None = None
    drift: Drift = Drift()
    monitoring: Monitoring = Monitoring()
