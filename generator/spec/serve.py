"""The spec of a serve: everything that its owner can set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from generator.spec.canary import BesideModel, Canary, FlavorName, ModelUri, Previous
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
    Raw,
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
    Subdomain,
    matching,
)
from predictors.flavor import IMAGE_REGISTRY

Mode = Literal["Standard", "Knative"]
Protocol = Literal["v1", "v2", "grpc"]
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


class ServeSpec(Part):
    """The spec of a serve; only name and model are required."""

    name: Name = Field(description="name of the InferenceService, and of the model in URLs")
    model: ModelUri
    namespace: Name = "default"
    """namespace of all resources"""
    canary: Canary | None = None
    variants: list[Canary] = Field(
        [], description="further canaries behind the same route (Standard), each with a name"
    )
    candidate: BesideModel | None = None
    previous: Previous | None = Field(None, description="what the last promotion replaced, and undo goes back to")
    revision: Name | None = Field(
        None, description="name of the stable predictor; set when a named canary is promoted (Standard)"
    )

    flavor: FlavorName | None = Field(None, description="flavor of the model; default: from its MLmodel file")
    model_size: Memory | None = Field(None, description="size of the model; default: from its MLmodel file")

    mode: Mode = Field("Standard", description="KServe's deployment mode")
    kserve: Version = Field("0.21", description="version of KServe on the cluster")
    protocol: Protocol = "v2"
    """protocol that most callers use; with 'grpc' the Service points to the gRPC port"""
    predictor: Literal["container", "runtime"] = Field(
        "container",
        description="'container' renders the container; 'runtime' refers to a ServingRuntime with modelFormat mlflow",
    )
    runtime: Name | None = Field(None, description="name of the ServingRuntime; default: the one for the flavor")
    image: str | None = Field(None, description="image of the predictor; default: the one for the flavor")
    image_registry: str = IMAGE_REGISTRY
    """registry of the images when image is not set"""
    image_tag: Annotated[str, NumberToo] = "latest"
    """tag of the images when image is not set"""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """when nodes pull images; default: IfNotPresent, even for the tag latest"""
    image_pull_secrets: list[Subdomain] = []
    """Secrets of type kubernetes.io/dockerconfigjson, to pull images with"""

    replicas: Replicas = Replicas()
    scaling: Scaling = Scaling()
    resources: Resources = Resources()
    node_capacity: str | None = Field(None, description="kind of node to run on, such as spot or on-demand")
    node_capacities: dict[str, NodeCapacity] = Field(
        NODE_CAPACITIES, description="node selectors and tolerations for each kind of node"
    )
    placement: Placement = Placement()
    rolling: Rolling | None = Field(
        None, description="how pods are replaced (Standard); default: one extra pod, none missing"
    )
    disruption_budget: DisruptionBudget | Literal["auto", "off"] = "auto"
    workers: Annotated[int, Field(ge=1, le=256)] = Field(1, description="server processes in each pod")

    storage: Storage = Storage()
    tracking: Tracking = Tracking()
    volumes: list[Mount] = []
    """additional volumes of the predictor's container"""
    env: Env = {}
    """additional environment variables: text, {secret, key} or {config_map, key}"""
    env_from: list[Subdomain] = Field([], description="Secrets whose keys all become environment variables")
    args: list[str] = Field([], description="additional command-line flags of the predictor")

    pod: Raw = Field({}, description="fields of the predictor as in Kubernetes, laid over what is rendered")
    patch: Raw = Field({}, description="fields of the InferenceService, laid over what is rendered")

    labels: Labels = {}
    """additional labels of all resources"""
    annotations: Annotations = {}
    """additional annotations of the InferenceService, which its pods inherit"""
    service_account: ServiceAccount = ServiceAccount()
    security: Security | Literal["off"] = Security()
    probes: Probes = Probes()
    timeout: Duration = Field("60s", description="time limit for a response")
    container_concurrency: Annotated[int, Field(ge=0)] | None = Field(
        None, description="concurrent requests that a pod accepts (Knative)"
    )
    drain_delay: Duration = Field(
        "10s", description="time between turning unready and refusing new connections, when a pod ends"
    )
    grace_period: Duration = Field("30s", description="time for requests in flight to finish after that")

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

    @property
    def canaries(self) -> list[Canary]:
        """All models beside the stable one."""
        return [*([self.canary] if self.canary else []), *self.variants]

    @property
    def is_split_by_route(self) -> bool:
        """Whether the canaries are serves of their own behind a route of ours."""
        return self.mode == "Standard" and bool(self.canaries) and all(each.by == "route" for each in self.canaries)
