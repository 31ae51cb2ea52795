"""Notes about where the model comes from, and whether it is followed."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.resources.storage_container import TRACKING_SECRET
from predictors.uris import ModelURI


def notes_of(plan: ManifestPlan) -> list[str]:
    return [*storage(plan), *reload(plan), *candidate(plan)]


def storage(plan: ManifestPlan) -> Iterator[str]:
    spec = plan.spec
    if not ModelURI.parse(spec.model).is_mlflow:
        return
    if plan.strategy == "container":
        yield (
            "needs the ClusterStorageContainer for MLflow's URIs, which is in kserve/, "
            f"and the Secret {TRACKING_SECRET} in {spec.namespace} with the address of MLflow"
        )
    elif plan.follows and spec.storage.secrets and not spec.image:
        yield (
            "the predictor's images have no clients of object stores: other versions can be loaded while serving only "
            "if MLflow itself serves the artifacts, or with an image that has the clients"
        )
    elif not plan.knows_registry and not spec.storage.secrets:
        yield "no tracking server is set: expected tracking.uri or tracking.secret, to find the model"


def reload(plan: ManifestPlan) -> Iterator[str]:
    spec = plan.spec
    if (spec.reload.interval or spec.reload.webhook_secret) and not ModelURI.parse(spec.model).is_moving:
        yield f"reload has no effect, since {spec.model} does not change"


def candidate(plan: ManifestPlan) -> Iterator[str]:
    spec = plan.spec
    if spec.candidate is None:
        return
    where = "each of its workers" if spec.workers > 1 else "each pod"
    yield f"{where} holds the candidate beside the model: resources have to suffice for both, and for another version"
    if not (spec.auth.admin_tokens or spec.auth.jwt):
        yield "anybody who reaches the predictor can change the candidate: auth.admin_tokens keeps that to operators"
