"""What the pods of a serve call, as far as the spec tells: a NetworkPolicy has to let it through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from generator.plan import ManifestPlan
from generator.spec.pods import SecretKey
from predictors.uris import ModelURI

IN_CLUSTER = re.compile(r"[^.]+\.(?P<namespace>[^.]+)\.svc(\..+)?")
# A Service by its short name; domains of two words speak TLS.
IN_CLUSTER_SHORT = re.compile(r"[^.]+\.(?P<namespace>[^.]*[a-z][^.]*)")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection leads to: a namespace, a network, or neither, which only a person can translate."""

    path: str
    """Where in the spec it comes from."""
    what: str
    namespace: str | None = None
    cidr: str | None = None
    ports: tuple[int, ...] = ()
    """Any when empty."""

    @property
    def is_known(self) -> bool:
        return bool(self.namespace or self.cidr)


def destinations(plan: ManifestPlan) -> list[Destination]:
    return [*tracking(plan), *models(plan), *helpers(plan)]


def tracking(plan: ManifestPlan) -> Iterator[Destination]:
    """A policy sees the port of a pod where a URL names a Service's, so MLflow's usual one is let through, too."""
    wanted = plan.spec.tracking
    models = [plan.spec.model, *([plan.spec.canary.model] if plan.spec.canary else [])]
    if wanted.namespace:
        yield Destination("tracking.namespace", "the tracking server", wanted.namespace, ports=(wanted.port,))
    elif wanted.uri and wanted.uri.startswith(("http://", "https://")):
        for found in of_url(plan, "tracking.uri", wanted.uri):
            ports = tuple(sorted({wanted.port, port_of(wanted.uri)}))
            yield Destination(found.path, found.what, found.namespace, found.cidr, found.ports or ports)
    elif any(ModelURI.parse(uri).is_mlflow for uri in models):
        yield Destination("model", "the tracking server")


def models(plan: ManifestPlan) -> Iterator[Destination]:
    """Models that do not come from the registry. Whether a registry's artifacts do, only the server knows."""
    spec = plan.spec
    for path, uri in (("model", spec.model), *([("canary.model", spec.canary.model)] if spec.canary else [])):
        if uri.startswith(("http://", "https://")):
            yield from of_url(plan, path, uri)
        elif not ModelURI.parse(uri).is_mlflow and not uri.startswith(("pvc://", "oci://")):  # the kubelet's part
            yield Destination(path, uri)


def helpers(plan: ManifestPlan) -> Iterator[Destination]:
    """Features, keys, traces, packages."""
    spec = plan.spec
    if spec.feast and spec.feast.server_url:
        yield from of_url(plan, "feast.server_url", spec.feast.server_url)
    elif spec.feast:
        yield Destination("feast.repo_path", "Feast's online store")
    yield from logged(plan)
    if spec.payload_logger and spec.payload_logger.url:
        yield from of_url(plan, "payload_logger.url", spec.payload_logger.url)
    elif spec.payload_logger:
        yield Destination("payload_logger", "the broker that KServe is configured with")
    if spec.tracing:
        yield from of_url(plan, "tracing.endpoint", spec.tracing.endpoint)
    if spec.auth.jwt:
        yield from of_url(plan, "auth.jwt.jwks", spec.auth.jwt.jwks)
    if spec.dependencies.env_manager != "local":
        yield Destination("dependencies.env_manager", "the package index")


def logged(plan: ManifestPlan) -> Iterator[Destination]:
    log = plan.spec.prediction_log
    if log is None:
        return
    if isinstance(log.to, SecretKey):
        yield Destination("prediction_log.to", f"what the Secret {log.to.secret} names")
    elif log.kind == "http":
        yield from of_url(plan, "prediction_log.to", log.to)
    elif log.kind == "store":
        yield Destination("prediction_log.to", log.to)


def of_url(plan: ManifestPlan, path: str, url: str) -> Iterator[Destination]:
    """At most one. Ports of Services are not those of their pods, so that any port of a namespace may be meant."""
    host = urlsplit(url).hostname or ""
    found = IN_CLUSTER.fullmatch(host)
    if not found and url.startswith("http://"):
        found = IN_CLUSTER_SHORT.fullmatch(host)
    if found:
        yield Destination(path, host, namespace=found["namespace"])
        return
    try:
        address = ip_address(host)
    except ValueError:
        if host == "localhost" or not host:
            return
        # Without a dot it is a Service beside the serve.
        yield Destination(path, host, namespace=None if "." in host else plan.spec.namespace)
        return
    if not address.is_loopback:
        yield Destination(path, host, cidr=f"{address}/{address.max_prefixlen}", ports=(port_of(url),))


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
