"""The predictor's container, and the init container that downloads the model."""

from __future__ import annotations

import math
from typing import Any

from generator.plan import ManifestPlan, Served
from generator.resources import environment
from generator.resources.environment import CACHE_DIR, MODEL_DIR, env_from, variables
from generator.resources.volumes import cache, model, volumes
from generator.spec.pods import Security
from generator.spec.values import seconds
from predictors.flavor import storage_image

CONTAINER = "kserve-container"
DOWNLOADER = "model-downloader"
HTTP, HTTPS, GRPC = 8080, 8443, 8081


def predictor(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """The predictor's container."""
    return {
        "name": CONTAINER,
        "image": served.image,
        "imagePullPolicy": plan.spec.image_pull_policy,
        "args": [f"--model-name={plan.model_name}", *plan.spec.args],
    } | common_fields(plan, served)


def common_fields(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """Fields that a rendered container and a reference to a ServingRuntime have in common."""
    spec = plan.spec
    return {
        "ports": ports(plan),
        "env": variables(storage_variables(plan, served) | environment.predictor(plan, served)),
        "envFrom": env_from(
            environment.tracking_secrets(plan)
            + spec.env_from
            + (spec.storage.secrets if plan.strategy == "server" or plan.follows else [])
        )
        or None,
        "resources": resources(plan, served),
        "securityContext": security(plan),
        "volumeMounts": [volume.mount() for volume in volumes(plan)] or None,
        **probes(plan),
    }


def storage_variables(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """Variables that KServe reads from a container without a ServingRuntime."""
    if plan.spec.predictor == "runtime":
        return {}
    protocol = {"PROTOCOL": "v2"} if plan.spec.protocol == "v2" else {}
    return protocol | ({"STORAGE_URI": served.uri} if plan.strategy == "container" else {})


def downloader(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """The init container, which completes the download before the server starts."""
    spec = plan.spec
    with_cache = plan.strategy == "pvc"
    env: dict[str, Any] = {"MODEL_URI": served.uri, "OUTPUT_PATH": MODEL_DIR, "STORAGE_STRATEGY": plan.strategy}
    if with_cache:
        env |= {"CACHE_PATH": CACHE_DIR, "CACHE_LINK": "symlink"}
    env |= {"MAX_RETRIES": spec.storage.retries, "BACKOFF_SECONDS": seconds(spec.storage.backoff)}
    listed = variables(env | environment.tracking(plan))
    if with_cache:
        listed += [field_ref(name, path) for name, path in DOWNWARD_FIELDS.items()]
    return {
        "name": DOWNLOADER,
        "image": storage(plan),
        "imagePullPolicy": spec.image_pull_policy,
        "env": listed,
        "envFrom": env_from(environment.tracking_secrets(plan) + spec.storage.secrets) or None,
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": security(plan),
        "volumeMounts": [
            *([{"name": "tmp", "mountPath": "/tmp"}] if spec.security != "off" else []),  # noqa: S108
            model(plan).mount(read_only=False),
            *([cache(plan).mount(read_only=False)] if with_cache else []),
        ],
    }


def storage(plan: ManifestPlan) -> str:
    """The image for downloads, clean-up and other jobs."""
    spec = plan.spec
    return spec.storage.image or storage_image(registry=spec.image_registry, tag=spec.image_tag)


# The clean-up job identifies the users of a cache entry by these.
DOWNWARD_FIELDS = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}


def field_ref(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def ports(plan: ManifestPlan) -> list[dict[str, Any]]:
    """The ports; the Service points to the first, and Knative allows only one."""
    web: dict[str, Any] = {"name": "https" if plan.spec.auth.tls_secret else "http1", "containerPort": http_port(plan)}
    grpc: dict[str, Any] = {"name": "h2c", "containerPort": GRPC}
    both = [grpc, web] if plan.spec.protocol == "grpc" else [web, grpc]
    return [{**port, "protocol": "TCP"} for port in (both[:1] if plan.knative else both)]


def http_port(plan: ManifestPlan) -> int:
    """The port of REST, probes and metrics."""
    return HTTPS if plan.spec.auth.tls_secret else HTTP


def resources(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    requested = plan.spec.resources
    gpu = {requested.gpu_resource: str(requested.gpu)} if requested.gpu else {}
    return {
        "requests": {"cpu": served.cores, "memory": served.memory, **gpu},
        # KServe's default limit is one core, less than many requests.
        "limits": {
            "cpu": requested.limits.cores or served.cores,
            "memory": requested.limits.memory or served.memory,
            **gpu,
        },
    }


def security(plan: ManifestPlan) -> dict[str, Any] | None:
    """The container's security context, if it is not off."""
    settings = plan.spec.security
    return None if settings == "off" else restricted(settings)


def restricted(settings: Security) -> dict[str, Any]:
    """The container's part of Kubernetes' restricted policy."""
    return {
        "runAsNonRoot": True,
        "runAsUser": settings.run_as_user,
        "runAsGroup": settings.run_as_group,
        "readOnlyRootFilesystem": settings.read_only_root,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": settings.seccomp},
    }


def pod_security(plan: ManifestPlan) -> dict[str, Any] | None:
    """The pod's part of the restricted policy."""
    settings = plan.spec.security
    if settings == "off":
        return None
    return {
        "runAsNonRoot": True,
        "fsGroup": settings.fs_group,
        "fsGroupChangePolicy": "OnRootMismatch" if settings.fs_group is not None else None,
        "seccompProfile": {"type": settings.seccomp},
    }


def probes(plan: ManifestPlan) -> dict[str, Any]:
    """Ready once the model is loaded and checked; alive as long as the process responds."""
    settings = plan.spec.probes
    period = max(1, round(seconds(settings.period)))
    often = {"periodSeconds": period, "timeoutSeconds": max(1, round(seconds(settings.timeout)))}
    starting = {"failureThreshold": math.ceil(seconds(settings.start_within) / period)}
    return {
        "startupProbe": http_probe(plan, "/v2/health/ready") | often | starting,
        "readinessProbe": http_probe(plan, "/v2/health/ready") | often | {"failureThreshold": 2},
        "livenessProbe": http_probe(plan, "/v2/health/live") | often | {"failureThreshold": 6},
    }


def http_probe(plan: ManifestPlan, path: str) -> dict[str, Any]:
    if plan.knative and plan.spec.protocol == "grpc":
        return {"grpc": {"port": GRPC}}  # the only port that Knative knows
    return {
        "httpGet": {"path": path, "port": http_port(plan), "scheme": "HTTPS" if plan.spec.auth.tls_secret else None}
    }
