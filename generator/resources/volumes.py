"""Volumes of the predictor's pods, with their mounts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from generator.plan import ManifestPlan
from generator.resources.environment import CACHE_DIR, MODEL_DIR, SECRETS_DIR
from generator.spec.pods import Mount, SecretKey

PREDICTION_LOG = "prediction-log"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the pod, with its path in the predictor's container."""

    name: str
    path: str
    source: dict[str, Any]
    read_only: bool = True

    def of_pod(self) -> dict[str, Any]:
        return {"name": self.name, **self.source}

    def mount(self, read_only: bool | None = None) -> dict[str, Any]:
        protected = self.read_only if read_only is None else read_only
        return {"name": self.name, "mountPath": self.path} | ({"readOnly": True} if protected else {})


def model(plan: ManifestPlan) -> Volume:
    """The volume for the model, written by an init container and read by the server."""
    return Volume("model", MODEL_DIR, {"emptyDir": {}})


def cache(plan: ManifestPlan) -> Volume:
    return Volume("model-cache", CACHE_DIR, {"persistentVolumeClaim": {"claimName": plan.spec.storage.cache.claim}})


def volumes(plan: ManifestPlan) -> list[Volume]:
    """All volumes of the pod."""
    return own_volumes(plan) + [volume_of(mount) for mount in plan.spec.volumes]


def own_volumes(plan: ManifestPlan) -> list[Volume]:
    """The volumes that the serve needs apart from those in the spec."""
    spec = plan.spec
    needed: list[Volume] = []
    if spec.security != "off":
        # Everything else is read-only, but frameworks and shared memory need a writable folder.
        needed.append(Volume("tmp", "/tmp", {"emptyDir": scratch(plan, spec.security.tmp_size)}, read_only=False))  # noqa: S108
    if plan.strategy in ("emptydir", "pvc"):
        needed.append(model(plan))
    if plan.strategy == "pvc":
        needed.append(cache(plan))
    needed += secret_files(plan)
    if spec.dependencies.env_manager != "local":
        claim = spec.dependencies.cache_claim
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
        needed.append(Volume("environments", "/environments", source, read_only=False))
    if spec.feast and spec.feast.repo_config_map and spec.feast.repo_path:
        needed.append(Volume("feast", spec.feast.repo_path, {"configMap": {"name": spec.feast.repo_config_map}}))
    log = spec.prediction_log
    if log and log.folder and log.claim:
        source = {"persistentVolumeClaim": {"claimName": log.claim}}
        needed.append(Volume(PREDICTION_LOG, log.folder, source, read_only=False))
    return needed


def scratch(plan: ManifestPlan, size: str | None) -> dict[str, Any]:
    """An emptyDir with a limit, unless models or packages of unknown size are written to it."""
    installs = plan.spec.dependencies.env_manager != "local"
    limit = size or (None if plan.strategy == "server" or plan.follows or installs else "1Gi")
    return {"sizeLimit": limit} if limit else {}


def secret_files(plan: ManifestPlan) -> list[Volume]:
    """Secrets that the predictor reads as files, so that they can change without a restart."""
    spec = plan.spec
    files = [
        Volume(name, f"{SECRETS_DIR}/{name}", one_key(key, file))
        for name, key, file in (
            ("tokens", spec.auth.tokens, "tokens"),
            ("admin-tokens", spec.auth.admin_tokens, "tokens"),
            ("webhook", spec.reload.webhook_secret, "secret"),
            ("feast", spec.feast.token if spec.feast else None, "token"),
            ("prediction-log-key", spec.prediction_log.hash_key if spec.prediction_log else None, "key"),
        )
        if key is not None
    ]
    if spec.auth.tls_secret:
        files.append(Volume("tls", f"{SECRETS_DIR}/tls", {"secret": {"secretName": spec.auth.tls_secret}}))
    return files


def one_key(key: SecretKey, file: str) -> dict[str, Any]:
    return {"secret": {"secretName": key.secret, "items": [{"key": key.key, "path": file}]}}


def deepest(path: str, among: Iterable[Volume]) -> Volume | None:
    """The innermost volume that contains the path."""
    holding = [volume for volume in among if PurePosixPath(path).is_relative_to(volume.path)]
    return max(holding, key=lambda volume: len(PurePosixPath(volume.path).parts), default=None)


def volume_of(mount: Mount) -> Volume:
    """A volume from the spec."""
    source: dict[str, Any]
    kept = mount.secret is not None or mount.config_map is not None  # always read-only
    if mount.secret:
        source = {"secret": {"secretName": mount.secret}}
    elif mount.config_map:
        source = {"configMap": {"name": mount.config_map}}
    elif mount.pvc:
        source = {"persistentVolumeClaim": {"claimName": mount.pvc}}
    elif mount.csi:
        source = {"csi": mount.csi}
    else:
        source = {"emptyDir": {} if mount.empty_dir == "unlimited" else {"sizeLimit": mount.empty_dir}}
    return Volume(mount.name, mount.path, source, (mount.read_only and mount.empty_dir is None) or kept)
