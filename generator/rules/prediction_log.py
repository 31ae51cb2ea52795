"""What does not go together in the prediction log: who can write it, and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from generator.plan import ManifestPlan
from generator.problems import Problem, problem
from generator.resources.volumes import PREDICTION_LOG, deepest, model, ours, volume_of


def images(plan: ManifestPlan) -> Iterator[Problem]:
    """What our own images have not got; an environment that the predictor makes for its model does not bring it."""
    spec, log = plan.spec, plan.spec.prediction_log
    own = [spec.image, *([spec.canary.image or spec.image] if spec.canary else [])]
    if log and log.kind in ("folder", "store") and not spec.runtime and not all(own):
        yield problem(
            "prediction_log.to",
            "our images do not have pyarrow and fsspec, which write Parquet files: expected stdout, http://…, or an "
            "image with mlflow-kserve[log] in it",
        )


def claimed(plan: ManifestPlan) -> Iterator[Problem]:
    """A claim is mounted where nothing else is, and where it can be."""
    log = plan.spec.prediction_log
    if log is None or not (log.folder and log.claim):
        return
    others = [volume for volume in ours(plan) if volume.name != PREDICTION_LOG]
    found = deepest(log.folder, [*others, model(plan), *map(volume_of, plan.spec.volumes)])
    if found and PurePosixPath(found.path) == PurePosixPath(log.folder):
        yield problem("prediction_log.to", f"{log.folder!r} is taken already: expected another folder, such as /logs")
    elif found and found.read_only:
        yield problem(
            "prediction_log.to", f"nothing can be mounted in {found.path}, which is read-only: expected such as /logs"
        )


def unclaimed(plan: ManifestPlan) -> Iterator[Problem]:
    """Of the container nothing but volumes can be written, and what the spec does not name ends with the pod."""
    log = plan.spec.prediction_log
    if log is None or log.folder is None or log.claim:
        return
    found = deepest(log.folder, map(volume_of, plan.spec.volumes))
    if found is None:
        yield problem(
            "prediction_log.to",
            f"what is written to {log.folder} would be lost with the pod, if it can be written at all: expected "
            "prediction_log.claim, or one of volumes that holds it",
        )
    elif found.read_only:
        yield problem("prediction_log.to", f"the volume {found.name!r} is read-only: expected one that can be written")


RULES = [images, claimed, unclaimed]
