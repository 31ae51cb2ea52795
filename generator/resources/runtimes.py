"""ClusterServingRuntimes, one for each family of images: what an InferenceService refers to by a name."""

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
"""Of MLflow: its models since the first are served."""
DEFAULT = "boosting"
"""The family for those who name no runtime: it serves scikit-learn's models and pyfunc as well."""
PRIORITY = 2
"""KServe's own runtime for MLflow, kserve-mlserver, has 1."""
ANY = "pvc://model"


def family(flavor: str) -> str:
    """The image family of a flavor, by which its runtime is named."""
    return BY_NAME[flavor].image


def runtime_name(flavor: str) -> str:
    return f"mlflow-kserve-{family(flavor)}"


def runtimes(registry: str, tag: str) -> list[Resource]:
    first = {family(flavor.name): flavor.name for flavor in reversed(FLAVORS)}
    return [runtime(flavor, registry, tag) for _, flavor in sorted(first.items())]


def runtime(flavor: str, registry: str, tag: str) -> Resource:
    """What a reference says of its container by default, so that a reference with nothing else is served as well."""
    plan = typical(flavor, registry, tag)
    container = {"name": containers.CONTAINER, "image": plan.stable.image, "args": ["--model_name={{.Name}}"]}
    container |= containers.shared(plan, plan.stable)
    # Knative takes one port and Standard all that callers need: the InferenceService says which.
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
                # A limit could be changed by an InferenceService, but not taken away.
                "volumes": [{"name": volume.name, "emptyDir": {}} for volume in volumes(plan)],
            }
        ),
    }


def formats(flavor: str) -> list[dict[str, Any]]:
    """KServe's webhook refuses two runtimes that select themselves for the same with the same priority; one is enough,
    since nothing in an InferenceService tells it of what flavor the model is."""
    chosen = {"autoSelect": True, "priority": PRIORITY} if family(flavor) == DEFAULT else {}
    return [{"name": "mlflow", "version": version, **chosen} for version in FORMAT_VERSIONS]


def typical(flavor: str, registry: str, tag: str) -> ManifestPlan:
    """A plan that leaves everything open. A runtime cannot say how long a pod may take to end: 30 seconds it is."""
    spec = ServeSpec(
        name="model",
        model=ANY,
        predictor="runtime",
        image_registry=registry,
        image_tag=tag,
        drain_delay="10s",
        grace_period="15s",
    )
    return decide(spec, {ANY: ModelFacts(flavor)})
