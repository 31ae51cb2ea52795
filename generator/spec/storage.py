"""How the model gets into the pod."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from generator.spec.cron import CronLine
from generator.spec.values import Duration, Memory, Name, Part, Subdomain


class Cache(Part):
    """A volume that keeps downloaded models for all pods of the namespace."""

    claim: Subdomain = Field("model-cache", description="the PersistentVolumeClaim")
    create: bool = Field(False, description="emit the claim as well")
    size: Memory = Field("50Gi", description="what the claim asks for")
    storage_class: Subdomain | None = Field(None, description="of the claim; the cluster's default when left out")
    access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = Field(
        "ReadWriteMany", description="ReadWriteOnce is for pods on one node"
    )
    cleanup: bool = Field(False, description="emit the job that removes what nobody uses any more, and its rights")
    cleanup_schedule: CronLine = "17 3 * * *"
    """when the job runs, a cron line"""
    ttl_days: Annotated[float, Field(gt=0)] = Field(7, description="models that no pod used for longer are removed")
    max_size_gb: Annotated[float, Field(ge=0)] = Field(
        0, description="a larger cache loses what was not used for longest; 0 for no limit"
    )


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
    port: Annotated[int, Field(ge=1, le=65535)] = Field(5000, description="of its pods, for the NetworkPolicy")
