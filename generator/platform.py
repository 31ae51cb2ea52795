"""Resources that a platform team applies once per cluster, and once per namespace that serves models."""

from __future__ import annotations

from generator.facts import ModelFacts
from generator.plan import decide
from generator.resources import cache
from generator.resources.meta import Resource
from generator.resources.runtimes import runtimes
from generator.resources.storage_container import storage_container, tracking_secret
from generator.spec import ServeSpec
from predictors.flavor import IMAGE_REGISTRY

Files = dict[str, list[Resource]]


def platform(registry: str = IMAGE_REGISTRY, tag: str = "latest", namespace: str = "models") -> Files:
    """The resources by file name, with a kustomization in each folder."""
    cluster: Files = {"runtimes.yaml": runtimes(registry, tag), "storage.yaml": [storage_container(registry, tag)]}
    # The Secret is a template: if it were applied with the rest, it would overwrite the filled-in one.
    return {
        **cluster,
        "kustomization.yaml": [kustomization(cluster)],
        "namespace/cache.yaml": model_cache(registry, tag, namespace),
        "namespace/kustomization.yaml": [kustomization({"cache.yaml": []}, namespace)],
        "namespace/tracking-secret.yaml": [tracking_secret(namespace)],
    }


def model_cache(registry: str, tag: str, namespace: str) -> list[Resource]:
    """The volume and its clean-up, as rendered for a serve with a cache."""
    spec = ServeSpec.model_validate(
        {
            "name": "any",
            "model": "models:/any/1",
            "namespace": namespace,
            "image_registry": registry,
            "image_tag": tag,
            "storage": {"strategy": "pvc", "cache": {"create": True, "cleanup": True}},
        }
    )
    return cache.resources_of(decide(spec, {spec.model: ModelFacts("pyfunc")}))


def kustomization(files: Files, namespace: str | None = None) -> Resource:
    header: Resource = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return header | ({"namespace": namespace} if namespace else {}) | {"resources": sorted(files)}
