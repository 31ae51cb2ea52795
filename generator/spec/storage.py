"""How the model gets into the pod."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from generator.spec.values import Duration, Memory, Name, Part, Subdomain


class Cache(Part):
    """A volume that keeps downloaded models for all pods of the namespace."""

    claim: Subdomain = Field("model-cache", description="the PersistentVolumeClaim")
    create: bool = Field(False, description="emit the claim as well")
    size: Memory = "50Gi"
    """of the claim that is emitted"""
    storage_class: Subdomain | None = None
    """of the claim that is emitted; the cluster's own when left out"""
    access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = "ReadWriteMany"
    """of the claim that is emitted"""
    cleanup: bool = Field(False, description="emit the job that removes what nobody uses any more, and its rights")
    cleanup_schedule: str = "17 3 * * *"
    """when the job runs, a cron line"""
    ttl_days: Annotated[float, Field(gt=0)] = 7
    """days without use after which a model may go"""
    max_size_gb: Annotated[float, Field(ge=0)] = 0
    """size above which the longest unused go first; 0 for any size"""


class Storage(Part):
    """Who fetches the model, and where it is kept."""

    strategy: Literal["auto", "container", "emptydir", "pvc", "server"] = Field(
        "auto",
        description="who fetches it: 'container' is KServe (storageUri), 'emptydir' and 'pvc' "
        "an init container without and with a cache, 'server' the predictor; 'auto' goes by mode and size",
    )
    storage_container: Name | None = Field(None, description="ClusterStorageContainer by name (KServe 0.20 or newer)")
    image: str | None = Field(None, description="image of the init container")
    cache: Cache = Cache()
    retries: Annotated[int, Field(ge=0)] = 3
    """how often a failed download is tried again"""
    backoff: Duration = "5s"
    """before the first of these, doubled each time"""
    secrets: list[Subdomain] = Field(
        [], description="Secrets whose keys become variables of whoever fetches: AWS_…, HF_TOKEN, …"
    )


def seen_by_pods(uri: str) -> str:
    """What leads somewhere from everywhere, and holds no secret."""
    where = urlsplit(uri)
    if where.scheme in ("", "file", "sqlite") and not uri.startswith("databricks"):
        raise ValueError(f"{uri!r} is on this machine: expected the http(s) address that pods reach MLflow by")
    if where.hostname in ("localhost", "127.0.0.1", "::1", "0.0.0.0"):  # noqa: S104
        raise ValueError(f"{uri!r} leads a pod to itself: expected the address that pods reach MLflow by")
    if where.password is not None:
        raise ValueError("holds a password, which manifests must not: expected tracking.secret instead")
    return uri


class Tracking(Part):
    """The MLflow tracking server."""

    uri: Annotated[str, AfterValidator(seen_by_pods)] | None = None
    """its address as pods see it"""
    secret: Subdomain | None = Field(
        None,
        description="Secret with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    )
    namespace: Name | None = Field(None, description="where it runs in this cluster, for the NetworkPolicy")
    port: Annotated[int, Field(ge=1, le=65535)] = 5000
    """its port, for the NetworkPolicy"""
