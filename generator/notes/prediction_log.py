"""What has to be known of the prediction log: what it needs, and when records may be lost."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from generator.plan import ManifestPlan
from generator.resources.volumes import deepest, volume_of
from generator.spec.pods import SecretKey
from generator.spec.values import seconds

LAST = 5.0
"""Seconds in which a file or an event goes out, if all is well."""


def notes_of(plan: ManifestPlan) -> Iterator[str]:
    spec, log = plan.spec, plan.spec.prediction_log
    if log is None:
        return
    if log.claim:
        yield f"all pods write the prediction log to the claim {log.claim}: on several nodes it has to be ReadWriteMany"
    if log.folder and not log.claim:
        found = deepest(log.folder, map(volume_of, spec.volumes))
        if found and "emptyDir" in found.source:
            yield f"the prediction log in {log.folder} is lost with its pod"
    if isinstance(log.to, SecretKey):
        if not (spec.image or spec.runtime):
            yield f"the Secret {log.to.secret} may name http(s):// only: our images write to no store"
    elif log.kind == "store" and not may_write(plan):
        where = urlsplit(log.to)
        yield (
            f"nothing says who may write to {where.scheme}://{where.hostname or ''}: expected env_from with a Secret "
            "of its credentials, or a service_account that may, unless the nodes may"
        )
    if log.kind != "stdout" and seconds(spec.grace_period) < LAST:
        yield (
            f"requests and the last of the prediction log share a grace_period of {spec.grace_period}: "
            "what is not written by then is lost"
        )


def may_write(plan: ManifestPlan) -> bool:
    """Whether the predictor is given something that may be credentials."""
    spec, account = plan.spec, plan.spec.service_account
    secrets = spec.env_from or (spec.storage.secrets if plan.strategy == "server" or plan.follows else [])
    by_env = any(isinstance(value, SecretKey) for value in spec.env.values())
    return bool(secrets or by_env or account.name or account.annotations)
