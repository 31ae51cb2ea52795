"""A schedule as jobs that patch the number of pods in the InferenceService when a window starts and ends.

Only the numbers change, so KServe adjusts the autoscaler and restarts no pod.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from generator.plan import ManifestPlan
from generator.resources import containers
from generator.resources.meta import Resource, labels, resource
from generator.resources.rights import rights
from generator.spec.cron import parse
from generator.spec.scaling import Window


def schedule(plan: ManifestPlan) -> list[Resource]:
    """The jobs, and their right to patch this one InferenceService."""
    if plan.clock != "jobs":
        return []
    spec, name = plan.spec, account(plan)
    resources = patch_rights(plan)
    for position, window in enumerate(spec.scaling.schedule):
        numbers = (window.min, window.max or plan.max_replicas)
        resources.append(job(plan, f"{name}-{position}-start", window.start, window.timezone, *numbers))
        if not taken_over(window, spec.scaling.schedule):
            usual = (spec.replicas.min, plan.max_replicas)
            resources.append(job(plan, f"{name}-{position}-end", window.end, window.timezone, *usual))
    return resources


def account(plan: ManifestPlan) -> str:
    return f"{plan.spec.name}-scale"


def taken_over(window: Window, windows: list[Window]) -> bool:
    """Whether another window starts whenever this one ends, so that nothing has to be restored."""
    end = parse(window.end)
    return any(end.within(parse(other.start)) for other in windows if other.timezone == window.timezone)


def patch_rights(plan: ManifestPlan) -> list[Resource]:
    """An account that may patch this InferenceService only."""
    name = account(plan)
    rule = {
        "apiGroups": ["serving.kserve.io"],
        "resources": ["inferenceservices"],
        "resourceNames": [plan.spec.name],
        "verbs": ["patch"],
    }
    make = partial(resource, plan)
    return [make("v1", "ServiceAccount", name, {}), *rights(make, name, plan.spec.namespace, rule)]


def job(plan: ManifestPlan, name: str, when: str, timezone: str, minimum: int, maximum: int) -> Resource:
    numbers = ["--min", str(minimum), *(["--max", str(maximum)] if plan.scaler != "none" else [])]
    spec = plan.spec
    container = {
        "name": "scale",
        "image": containers.storage(plan),
        "imagePullPolicy": spec.image_pull_policy,
        "command": ["python", "-m", "predictors.scale"],
        "args": [spec.name, "--namespace", spec.namespace, *numbers],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": containers.security(plan),
    }
    pod: dict[str, Any] = {
        "serviceAccountName": account(plan),
        "restartPolicy": "Never",
        "imagePullSecrets": [{"name": secret} for secret in spec.image_pull_secrets] or None,
        "containers": [container],
    }
    # A mesh's proxy would keep running after the job has finished.
    template = {"metadata": {"labels": labels(plan) | {"sidecar.istio.io/inject": "false"}}, "spec": pod}
    content = {
        "schedule": when,
        "timeZone": timezone,
        "concurrencyPolicy": "Forbid",
        # A job may start late, but not so late that the window may be over.
        "startingDeadlineSeconds": 600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {"spec": {"backoffLimit": 3, "activeDeadlineSeconds": 300, "template": template}},
    }
    return resource(plan, "batch/v1", "CronJob", name, {"spec": content})
