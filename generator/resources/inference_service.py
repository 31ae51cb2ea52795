"""The InferenceService: mode, traffic and pods of the predictor."""

from __future__ import annotations

import math
from typing import Any

from generator.plan import ManifestPlan, Served
from generator.resources import containers, monitors, placement, scaling
from generator.resources.accounts import account
from generator.resources.meta import Resource, compact, resource
from generator.resources.overrides import overridden
from generator.resources.runtimes import runtime_name
from generator.resources.volumes import volumes
from generator.spec.values import seconds

MODE = "serving.kserve.io/deploymentMode"
VISIBILITY = "networking.kserve.io/visibility"
KNATIVE_VISIBILITY = "networking.knative.dev/visibility"
PROTOCOLS = {"v1": "v1", "v2": "v2", "grpc": "grpc-v2"}


def inference_service(plan: ManifestPlan) -> Resource:
    spec = plan.spec
    isvc = resource(
        plan,
        "serving.kserve.io/v1beta1",
        "InferenceService",
        spec.name,
        {"spec": {"predictor": predictor(plan)}},
        annotations={
            MODE: spec.mode,
            **scaling.annotations_of(plan),
            **monitors.annotations_of(plan),
            **spec.annotations,
        },
    )
    isvc["metadata"]["labels"] |= visibility(plan)
    if plan.canary and not plan.knative:
        isvc["spec"]["canary"] = [canary(plan, plan.canary)]
    return overridden(isvc, plan)


def visibility(plan: ManifestPlan) -> dict[str, str]:
    """The label that keeps a serve inside the cluster, or KServe's routes away where ours leads to it."""
    if plan.knative:
        return {KNATIVE_VISIBILITY: "cluster-local"} if plan.spec.exposure.visibility == "cluster-local" else {}
    hidden = plan.spec.exposure.visibility == "cluster-local" or plan.has_own_route
    return {VISIBILITY: "cluster-local"} if hidden else {}


def labels_of_pods(plan: ManifestPlan) -> dict[str, str] | None:
    """A label that stays: KServe copies those of the serve to its pods, which would restart with every change.

    The visibility changes when a rollout begins and ends.
    """
    external = plan.spec.exposure.visibility == "external"
    return {VISIBILITY: "external"} if external and not plan.knative else None


def predictor(plan: ManifestPlan) -> Any:
    """The stable predictor. In Knative the canary is the newest revision, and the stable one is the revision before."""
    spec = plan.spec
    served = plan.canary if plan.canary and plan.knative else plan.stable
    return compact(
        {
            "name": spec.revision,
            "labels": labels_of_pods(plan),
            "canaryTrafficPercent": spec.canary.percent if spec.canary and plan.knative else None,
            **scaling.fields_of(plan),
            "containerConcurrency": spec.container_concurrency,
            "timeout": math.ceil(seconds(spec.timeout)),
            "deploymentStrategy": strategy(plan),
            "batcher": batcher(plan),
            "logger": logger(plan),
            **implementation(plan, served),
            **pod(plan),
        }
    )


def canary(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """The canary in Standard mode, which KServe merges over the stable predictor: only differences are set."""
    canary_spec = plan.spec.canary
    assert canary_spec is not None  # noqa: S101 - a served canary comes from the spec's
    fields = {
        "name": served.name,
        "annotations": scaling.annotations_of_canary(plan),
        # Without a share KServe would give it no pod at all, except with a HorizontalPodAutoscaler.
        "minReplicas": canary_spec.replicas or (1 if canary_spec.percent == 0 else None),
        **implementation(plan, served),
    }
    if "model" in fields:
        # KServe's CRD requires a container name here, while its webhook refuses one for the stable predictor.
        fields["model"] = {"name": containers.CONTAINER, **fields["model"]}
    return {"trafficPercent": canary_spec.percent, "predictor": compact(fields)}


def implementation(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """The container or runtime that serves the model, and the one that downloads it."""
    downloads = plan.strategy in ("emptydir", "pvc")
    init = {"initContainers": [containers.downloader(plan, served)]} if downloads else {}
    if plan.spec.predictor == "runtime":
        return {"model": reference(plan, served), **init}
    return {"containers": [containers.predictor(plan, served)], **init}


def reference(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """A reference to a ServingRuntime, which defines the image and the arguments."""
    spec = plan.spec
    own_image = served.image if spec.image or (spec.canary and served.image == spec.canary.image) else None
    return {
        "modelFormat": {"name": "mlflow", "version": "3"},
        "runtime": spec.runtime or runtime_name(served.flavor),
        "protocolVersion": PROTOCOLS[spec.protocol],
        "storageUri": served.uri if plan.strategy == "container" else None,
        "image": own_image,
        # The runtime names the model after the InferenceService; the last flag counts.
        "args": [*([f"--model-name={plan.model_name}"] if plan.part_of else []), *spec.args] or None,
        **containers.common_fields(plan, served),
    }


def pod(plan: ManifestPlan) -> dict[str, Any]:
    """The fields of the pod outside its containers."""
    spec = plan.spec
    return {
        "storageContainerName": spec.storage.storage_container,
        "serviceAccountName": account(plan),
        # The predictor never calls the cluster's API.
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": name} for name in spec.image_pull_secrets] or None,
        "terminationGracePeriodSeconds": None if plan.knative else plan.termination,
        # Knative allows these for the container only.
        "securityContext": None if plan.knative else containers.pod_security(plan),
        "volumes": [volume.of_pod() for volume in volumes(plan)] or None,
        **placement.fields_of(plan),
    }


def strategy(plan: ManifestPlan) -> dict[str, Any] | None:
    """One extra pod and none missing; KServe's default would first remove a quarter of them."""
    if plan.knative:
        return None
    rolling = plan.spec.rolling
    surge, unavailable = (rolling.surge, rolling.unavailable) if rolling else (1, 0)
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def batcher(plan: ManifestPlan) -> dict[str, Any] | None:
    settings = plan.spec.batcher
    if settings is None:
        return None
    return {
        "maxBatchSize": settings.max_batch_size,
        "maxLatency": max(1, round(seconds(settings.max_latency) * 1000)),
        "timeout": math.ceil(seconds(settings.timeout)) if settings.timeout else None,
    }


def logger(plan: ManifestPlan) -> dict[str, Any] | None:
    settings = plan.spec.payload_logger
    if settings is None:
        return None
    return {"mode": settings.mode, "url": settings.url, "metadataHeaders": settings.metadata_headers or None}
