"""Rules about the prediction log: what can write it, and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from generator.plan import ManifestPlan
from generator.problems import Problem, problem
from generator.resources.volumes import PREDICTION_LOG, deepest, model, own_volumes, volume_of


def images(plan: ManifestPlan) -> Iterator[Problem]:
    """Packages that the project's images lack, and that an environment for the model does not add."""
    spec, log = plan.spec, plan.spec.prediction_log
    own = [spec.image, *([spec.canary.image or spec.image] if spec.canary else [])]
    if log and log.kind in ("folder", "store") and not spec.runtime and not all(own):
        yield problem(
            "prediction_log.to",
            "the project's images lack pyarrow and fsspec, which write Parquet files: expected stdout, http://…, or an "
            "image with mlflow-kserve[log]",
        )


def claimed(plan: ManifestPlan) -> Iterator[Problem]:
    """A claim needs a folder of its own where it can be mounted."""
    log = plan.spec.prediction_log
    if log is None or not (log.folder and log.claim):
        return
    others = [volume for volume in own_volumes(plan) if volume.name != PREDICTION_LOG]
    volume = deepest(log.folder, [*others, model(plan), *map(volume_of, plan.spec.volumes)])
    if volume and PurePosixPath(volume.path) == PurePosixPath(log.folder):
        yield problem("prediction_log.to", f"{log.folder!r} is already in use: expected another folder, such as /logs")
    elif volume and volume.read_only:
        yield problem(
            "prediction_log.to", f"{volume.path} is read-only, so nothing can be mounted in it: expected such as /logs"
        )


def unclaimed(plan: ManifestPlan) -> Iterator[Problem]:
    """Only volumes are writable, and files outside them are lost with the pod."""
    log = plan.spec.prediction_log
    if log is None or log.folder is None or log.claim:
        return
    volume = deepest(log.folder, map(volume_of, plan.spec.volumes))
    if volume is None:
        yield problem(
            "prediction_log.to",
            f"the log in {log.folder} would be lost with the pod, if the folder is writable at all: expected "
            "prediction_log.claim, or an entry of volumes that contains it",
        )
    elif volume.read_only:
        yield problem("prediction_log.to", f"the volume {volume.name!r} is read-only: expected a writable one")


RULES = [images, claimed, unclaimed]
