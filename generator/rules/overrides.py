"""Rules about what is said in Kubernetes' own words: it must not contradict what the rest of the spec says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from generator.plan import ManifestPlan
from generator.problems import Path, Problem

OF_INFERENCE_SERVICE: Mapping[Path, str] = {
    ("apiVersion",): "it is KServe's",
    ("kind",): "it is an InferenceService",
    ("status",): "KServe writes it",
    ("metadata", "name"): "set name instead",
    ("metadata", "namespace"): "set namespace instead",
    ("metadata", "labels", "networking.kserve.io/visibility"): "set exposure.visibility instead",
    ("metadata", "labels", "networking.knative.dev/visibility"): "set exposure.visibility instead",
    ("metadata", "annotations", "serving.kserve.io/deploymentMode"): "set mode instead",
    ("spec", "canary"): "set canary instead",
}
OF_PREDICTOR: Mapping[Path, str] = {
    ("canaryTrafficPercent",): "set canary instead",
    ("name",): "a promotion sets it",
    ("minReplicas",): "set replicas.min instead",
    ("maxReplicas",): "set replicas.max instead",
}


def overrides(plan: ManifestPlan) -> Iterator[Problem]:
    refused = {("patch", *path): why for path, why in OF_INFERENCE_SERVICE.items()}
    refused |= {("patch", "spec", "predictor", *path): why for path, why in OF_PREDICTOR.items()}
    refused |= {("pod", *path): why for path, why in OF_PREDICTOR.items()}
    values = {"patch": plan.spec.patch, "pod": plan.spec.pod}
    for path, why in refused.items():
        if has(values, path):
            yield Problem(path, f"cannot be set here: {why}")


def has(content: object, path: Path) -> bool:
    for part in path:
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return True


RULES = (overrides,)
