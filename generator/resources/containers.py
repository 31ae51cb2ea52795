"""The predictor's container and the one that fetches the model before it."""

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
    """The container that serves."""
    return {
        "name": CONTAINER,
        "image": served.image,
        "imagePullPolicy": plan.spec.image_pull_policy,
        "args": [f"--model-name={plan.spec.name}", *plan.spec.args],
    } | shared(plan, served)


def shared(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """What a container of ours says just as a reference to a ServingRuntime does."""
    spec = plan.spec
    return {
        "ports": ports(plan),
        "env": variables(stored(plan, served) | environment.predictor(plan, served)),
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


def stored(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """What KServe reads from the variables of a container that is not a ServingRuntime's."""
    if plan.spec.predictor == "runtime":
        return {}
    protocol = {"PROTOCOL": "v2"} if plan.spec.protocol == "v2" else {}
    return protocol | ({"STORAGE_URI": served.uri} if plan.strategy == "container" else {})


def downloader(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    """The init container: the model is there, complete, before the server starts."""
    spec = plan.spec
    with_cache = plan.strategy == "pvc"
    env: dict[str, Any] = {"MODEL_URI": served.uri, "OUTPUT_PATH": MODEL_DIR, "STORAGE_STRATEGY": plan.strategy}
    if with_cache:
        env |= {"CACHE_PATH": CACHE_DIR, "CACHE_LINK": "symlink"}
    env |= {"MAX_RETRIES": spec.storage.retries, "BACKOFF_SECONDS": seconds(spec.storage.backoff)}
    listed = variables(env | environment.tracking(plan))
    if with_cache:
        listed += [downward(name, path) for name, path in POD.items()]
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
    """The image of what downloads models, cleans up after them, and does the cluster's small jobs."""
    spec = plan.spec
    return spec.storage.image or storage_image(registry=spec.image_registry, tag=spec.image_tag)


# By these the clean-up job knows who uses an entry of the cache.
POD = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}


def downward(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def ports(plan: ManifestPlan) -> list[dict[str, Any]]:
    """The first is what the service leads to; Knative takes no second one."""
    web: dict[str, Any] = {"name": "https" if plan.spec.auth.tls_secret else "http1", "containerPort": http(plan)}
    grpc: dict[str, Any] = {"name": "h2c", "containerPort": GRPC}
    both = [grpc, web] if plan.spec.protocol == "grpc" else [web, grpc]
    return [{**port, "protocol": "TCP"} for port in (both[:1] if plan.knative else both)]


def http(plan: ManifestPlan) -> int:
    """Where REST, probes and metrics are asked."""
    return HTTPS if plan.spec.auth.tls_secret else HTTP


def resources(plan: ManifestPlan, served: Served) -> dict[str, Any]:
    requested = plan.spec.resources
    gpu = {requested.gpu_resource: str(requested.gpu)} if requested.gpu else {}
    return {
        "requests": {"cpu": served.cores, "memory": served.memory, **gpu},
        # KServe sets a limit of one core where none is said, less than many ask for.
        "limits": {
            "cpu": requested.limits.cores or served.cores,
            "memory": requested.limits.memory or served.memory,
            **gpu,
        },
    }


def security(plan: ManifestPlan) -> dict[str, Any] | None:
    """As the spec has it."""
    wanted = plan.spec.security
    return None if wanted == "off" else restricted(wanted)


def restricted(wanted: Security) -> dict[str, Any]:
    """The container's part of Kubernetes' restricted policy."""
    return {
        "runAsNonRoot": True,
        "runAsUser": wanted.run_as_user,
        "runAsGroup": wanted.run_as_group,
        "readOnlyRootFilesystem": wanted.read_only_root,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": wanted.seccomp},
    }


def pod_security(plan: ManifestPlan) -> dict[str, Any] | None:
    """The pod's part of it."""
    wanted = plan.spec.security
    if wanted == "off":
        return None
    return {
        "runAsNonRoot": True,
        "fsGroup": wanted.fs_group,
        "fsGroupChangePolicy": "OnRootMismatch" if wanted.fs_group is not None else None,
        "seccompProfile": {"type": wanted.seccomp},
    }


def probes(plan: ManifestPlan) -> dict[str, Any]:
    """Ready once the model is loaded and proved itself; alive as long as the process answers."""
    wanted = plan.spec.probes
    period = max(1, round(seconds(wanted.period)))
    often = {"periodSeconds": period, "timeoutSeconds": max(1, round(seconds(wanted.timeout)))}
    starting = {"failureThreshold": math.ceil(seconds(wanted.start_within) / period)}
    return {
        "startupProbe": ask(plan, "/v2/health/ready") | often | starting,
        "readinessProbe": ask(plan, "/v2/health/ready") | often | {"failureThreshold": 2},
        "livenessProbe": ask(plan, "/v2/health/live") | often | {"failureThreshold": 6},
    }


def ask(plan: ManifestPlan, path: str) -> dict[str, Any]:
    if plan.knative and plan.spec.protocol == "grpc":
        return {"grpc": {"port": GRPC}}  # the one port that Knative knows of
    return {"httpGet": {"path": path, "port": http(plan), "scheme": "HTTPS" if plan.spec.auth.tls_secret else None}}
