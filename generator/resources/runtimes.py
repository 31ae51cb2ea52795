"""ClusterServingRuntimes, one per image family, to which InferenceServices refer by name."""

from __future__ import annotations

from typing import Any

from generator.facts import ModelFacts
from generator.plan import ManifestPlan, decide
from generator.resources import containers
from generator.resources.meta import MANAGED_BY, Resource, compact
from generator.resources.volumes import volumes
from generator.spec import ServeSpec
from predictors.flavor import BY_NAME, FLAVORS

FORMAT_VERSIONS = ("1", "2", "3")
"""Major versions of MLflow, all of whose models are served."""
DEFAULT_FAMILY = "boosting"
"""The family used without a named runtime, which also serves scikit-learn's models and pyfunc."""
PRIORITY = 2
"""Higher than that of KServe's own runtime for MLflow, kserve-mlserver, which has 1."""
ANY_URI = "pvc://model"


def family(flavor: str) -> str:
    """The image family of a flavor, by which its runtime is named."""
    return BY_NAME[flavor].image


def runtime_name(flavor: str) -> str:
    return f"mlflow-kserve-{family(flavor)}"


def runtimes(registry: str, tag: str) -> list[Resource]:
    first = {family(flavor.name): flavor.name for flavor in reversed(FLAVORS)}
    return [runtime(flavor, registry, tag) for _, flavor in sorted(first.items())]


def runtime(flavor: str, registry: str, tag: str) -> Resource:
    """A runtime with defaults for its container, so that a bare reference can be served."""
    plan = default_plan(flavor, registry, tag)
    container = {"name": containers.CONTAINER, "image": plan.stable.image, "args": ["--model_name={{.Name}}"]}
    container |= containers.common_fields(plan, plan.stable)
    # Knative allows one port, Standard several, so the InferenceService sets them.
    del container["ports"]
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {
            "name": runtime_name(flavor),
            "labels": {"app.kubernetes.io/name": runtime_name(flavor), **MANAGED_BY},
        },
        "spec": compact(
            {
                "annotations": {
                    "prometheus.kserve.io/port": str(containers.HTTP),
                    "prometheus.kserve.io/path": "/metrics",
                },
                "supportedModelFormats": formats(flavor),
                "protocolVersions": ["v1", "v2", "grpc-v2"],
                "containers": [container],
                # An InferenceService could change a size limit, but not remove it.
                "volumes": [{"name": volume.name, "emptyDir": {}} for volume in volumes(plan)],
            }
        ),
    }


def formats(flavor: str) -> list[dict[str, Any]]:
    """The formats. KServe's webhook refuses two auto-selected runtimes with the same format and priority. One is
    enough, since an InferenceService does not tell the flavor of the model."""
    chosen = {"autoSelect": True, "priority": PRIORITY} if family(flavor) == DEFAULT_FAMILY else {}
    return [{"name": "mlflow", "version": version, **chosen} for version in FORMAT_VERSIONS]


def default_plan(flavor: str, registry: str, tag: str) -> ManifestPlan:
    """A plan with defaults. A runtime cannot set the termination period of a pod, which is 30 seconds."""
    spec = ServeSpec(
        name="model",
        model=ANY_URI,
        predictor="runtime",
        image_registry=registry,
        image_tag=tag,
        drain_delay="10s",
        grace_period="15s",
    )
    return decide(spec, {ANY_URI: ModelFacts(flavor)})
