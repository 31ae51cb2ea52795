"""Notes about the prediction log: its requirements, and when records may be lost."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from generator.plan import ManifestPlan
from generator.resources.volumes import deepest, volume_of
from generator.spec.pods import SecretKey
from generator.spec.values import seconds

FLUSH_SECONDS = 5.0
"""Time to write a file or send an event under normal conditions."""


def notes_of(plan: ManifestPlan) -> Iterator[str]:
    spec, log = plan.spec, plan.spec.prediction_log
    if log is None:
        return
    if log.claim:
        yield f"all pods write the prediction log to the claim {log.claim}: on several nodes it must be ReadWriteMany"
    if log.folder and not log.claim:
        volume = deepest(log.folder, map(volume_of, spec.volumes))
        if volume and "emptyDir" in volume.source:
            yield f"the prediction log in {log.folder} is lost with its pod"
    if isinstance(log.to, SecretKey):
        if not (spec.image or spec.runtime):
            yield f"the Secret {log.to.secret} may hold http(s):// only: the project's images write to no store"
    elif log.kind == "store" and not may_write(plan):
        where = urlsplit(log.to)
        yield (
            f"there are no credentials for {where.scheme}://{where.hostname or ''}: expected env_from with a Secret, "
            "or a service_account with access, unless the nodes have it"
        )
    if log.kind != "stdout" and seconds(spec.grace_period) < FLUSH_SECONDS:
        yield (
            f"requests and the rest of the prediction log share a grace_period of {spec.grace_period}: "
            "records not written by then are lost"
        )


def may_write(plan: ManifestPlan) -> bool:
    """Whether the predictor gets something that may be credentials."""
    spec, account = plan.spec, plan.spec.service_account
    secrets = spec.env_from or (spec.storage.secrets if plan.strategy == "server" or plan.follows else [])
    by_env = any(isinstance(value, SecretKey) for value in spec.env.values())
    return bool(secrets or by_env or account.name or account.annotations)
