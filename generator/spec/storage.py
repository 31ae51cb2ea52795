"""How the model reaches the pod."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from generator.spec.cron import CronLine
from generator.spec.values import Duration, Memory, Name, Part, Subdomain


class Cache(Part):
    """A volume that keeps downloaded models for all pods of the namespace."""

    claim: Subdomain = Field("model-cache", description="name of the PersistentVolumeClaim")
    create: bool = Field(False, description="whether to emit the claim")
    size: Memory = Field("50Gi", description="size that the claim requests")
    storage_class: Subdomain | None = Field(
        None, description="storage class of the claim; default: that of the cluster"
    )
    access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = Field(
        "ReadWriteMany", description="access mode of the claim; ReadWriteOnce works for pods on one node"
    )
    cleanup: bool = Field(False, description="whether to emit a job, with its rights, that removes unused models")
    cleanup_schedule: CronLine = "17 3 * * *"
    """when the job runs, as a cron line"""
    ttl_days: Annotated[float, Field(gt=0)] = Field(7, description="days after its last use when a model is removed")
    max_size_gb: Annotated[float, Field(ge=0)] = Field(
        0, description="size above which the least recently used models are removed; 0 for no limit"
    )


class Storage(Part):
    """How the model is fetched and cached."""

    strategy: Literal["auto", "container", "emptydir", "pvc", "server"] = Field(
        "auto",
        description="who fetches the model: 'container' is KServe (storageUri), 'emptydir' and 'pvc' are an init "
        "container without and with a cache, 'server' is the predictor; 'auto' decides by mode and size",
    )
    storage_container: Name | None = Field(None, description="name of a ClusterStorageContainer (KServe 0.20 or newer)")
    image: str | None = Field(None, description="image of the init container")
    cache: Cache = Cache()
    retries: Annotated[int, Field(ge=0)] = 3
    """number of retries of a failed download"""
    backoff: Duration = "5s"
    """delay before the first retry, doubled each time"""
    secrets: list[Subdomain] = Field(
        [],
        description="Secrets whose keys become environment variables of the container that fetches: AWS_…, HF_TOKEN, …",
    )


def seen_by_pods(uri: str) -> str:
    """The URI, if pods can reach it and it holds no secret."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file", "sqlite") and not uri.startswith("databricks"):
        raise ValueError(f"{uri!r} is on this machine: expected the http(s) address that pods reach MLflow by")
    if parts.hostname in ("localhost", "127.0.0.1", "::1", "0.0.0.0"):  # noqa: S104
        raise ValueError(f"{uri!r} leads a pod to itself: expected the address that pods reach MLflow by")
    if parts.password is not None:
        raise ValueError("holds a password, which manifests must not: expected tracking.secret instead")
    return uri


class Tracking(Part):
    """The MLflow tracking server."""

    uri: Annotated[str, AfterValidator(seen_by_pods)] | None = None
    """URL of the tracking server, as pods reach it"""
    secret: Subdomain | None = Field(
        None,
        description="Secret with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    )
    namespace: Name | None = Field(
        None, description="namespace of the tracking server in this cluster, for the NetworkPolicy"
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(5000, description="port of its pods, for the NetworkPolicy")
