"""The model cache of a namespace: its volume, and the job that removes unused models."""

from __future__ import annotations

from functools import partial
from typing import Any

from generator.plan import ManifestPlan
from generator.resources import containers, environment, volumes
from generator.resources.environment import CACHE_DIR
from generator.resources.meta import MANAGED_BY, Resource, compact
from generator.resources.rights import rights
from generator.spec.pods import EnvValue

HOUR = 3600
TMP: dict[str, Any] = {"name": "tmp", "emptyDir": {}}


def resources_of(plan: ManifestPlan) -> list[Resource]:
    """Resources named after the claim and without the serve's labels: serves that share it render the same."""
    if plan.strategy != "pvc":
        return []
    cache = plan.spec.storage.cache
    return [*([claim(plan)] if cache.create else []), *(cleanup(plan) if cache.cleanup else [])]


def claim(plan: ManifestPlan) -> Resource:
    cache = plan.spec.storage.cache
    content = {
        "accessModes": [cache.access_mode],
        "storageClassName": cache.storage_class,
        "resources": {"requests": {"storage": cache.size}},
    }
    return common(plan, "v1", "PersistentVolumeClaim", cache.claim, {"spec": content})


def cleanup(plan: ManifestPlan) -> list[Resource]:
    """The job, and the only right that it needs, which is to list pods."""
    name = f"{plan.spec.storage.cache.claim}-cleanup"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    pull = [{"name": secret} for secret in plan.spec.image_pull_secrets] or None
    return [
        common(plan, "v1", "ServiceAccount", name, {"automountServiceAccountToken": False, "imagePullSecrets": pull}),
        *rights(partial(common, plan), name, plan.spec.namespace, rule),
        common(plan, "batch/v1", "CronJob", name, {"spec": schedule(plan, name)}),
    ]


def schedule(plan: ManifestPlan, account: str) -> dict[str, Any]:
    return {
        "schedule": plan.spec.storage.cache.cleanup_schedule,
        "concurrencyPolicy": "Forbid",
        # A failed run is made up for by the next one.
        "jobTemplate": {
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": HOUR, "template": {"spec": pod(plan, account)}}
        },
    }


def pod(plan: ManifestPlan, account: str) -> dict[str, Any]:
    """A pod with the same user as the one that downloads the files."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": True,
        "restartPolicy": "Never",
        "securityContext": containers.pod_security(plan),
        "containers": [container(plan)],
        "volumes": [volumes.cache(plan).of_pod(), *([TMP] if plan.spec.security != "off" else [])],
    }


def container(plan: ManifestPlan) -> dict[str, Any]:
    spec = plan.spec
    cache = spec.storage.cache
    env: dict[str, EnvValue] = {"CACHE_PATH": CACHE_DIR, "TTL_DAYS": cache.ttl_days, "MAX_SIZE_GB": cache.max_size_gb}
    mounts = [volumes.cache(plan).mount(read_only=False)]
    if spec.security != "off":
        mounts.append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108 - all else is read-only
    return {
        "name": "cleanup",
        "image": containers.storage(plan),
        "imagePullPolicy": spec.image_pull_policy,
        "command": ["python", "-m", "predictors.cleanup"],
        "env": environment.variables(env),
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": containers.security(plan),
        "volumeMounts": mounts,
    }


def common(plan: ManifestPlan, api_version: str, kind: str, name: str, content: dict[str, Any]) -> Resource:
    labels = {"app.kubernetes.io/name": plan.spec.storage.cache.claim, **MANAGED_BY}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": plan.spec.namespace, "labels": labels},
        **compact(content),
    }
