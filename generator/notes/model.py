"""Notes about where the model comes from, and whether it is followed."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.resources.storage_container import TRACKING_SECRET
from predictors.uris import ModelURI


def notes_of(plan: ManifestPlan) -> list[str]:
    return [*storage(plan), *reload(plan)]


def storage(plan: ManifestPlan) -> Iterator[str]:
    spec = plan.spec
    if not ModelURI.parse(spec.model).is_mlflow:
        return
    if plan.strategy == "container":
        yield (
            "needs the ClusterStorageContainer for MLflow's URIs, which kserve/ has, "
            f"and the Secret {TRACKING_SECRET} in {spec.namespace}, which tells it where MLflow is"
        )
    elif plan.follows and spec.storage.secrets and not spec.image:
        yield (
            "the predictor's images have no clients of object stores: other versions of the model can be loaded while "
            "it serves only if MLflow itself serves the artifacts, or with an image that has them"
        )
    elif not plan.knows_registry and not spec.storage.secrets:
        yield "no tracking server is named: the model is found only if tracking.uri or tracking.secret says where"


def reload(plan: ManifestPlan) -> Iterator[str]:
    spec = plan.spec
    if (spec.reload.interval or spec.reload.webhook_secret) and not ModelURI.parse(spec.model).is_moving:
        yield f"reload says how an alias is followed, and {spec.model} stays what it is"
