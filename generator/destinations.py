"""The destinations of a serve's pods, as far as the spec knows, which a NetworkPolicy must allow."""

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
# A Service by its short name; public domains with two labels use TLS.
IN_CLUSTER_SHORT = re.compile(r"[^.]+\.(?P<namespace>[^.]*[a-z][^.]*)")


@dataclass(frozen=True, slots=True)
class Destination:
    """The destination of connections: a namespace, a network, or neither, if only a person can tell."""

    path: str
    """The path in the spec that it comes from."""
    what: str
    namespace: str | None = None
    cidr: str | None = None
    ports: tuple[int, ...] = ()
    """All if empty."""

    @property
    def is_known(self) -> bool:
        return bool(self.namespace or self.cidr)


def destinations(plan: ManifestPlan) -> list[Destination]:
    return [*tracking(plan), *models(plan), *helpers(plan)]


def tracking(plan: ManifestPlan) -> Iterator[Destination]:
    """The tracking server. A policy applies to ports of pods, a URL names that of a Service: both are allowed."""
    tracking_server = plan.spec.tracking
    models = [plan.spec.model, *([plan.canary.uri] if plan.canary else [])]
    if tracking_server.namespace:
        yield Destination(
            "tracking.namespace", "the tracking server", tracking_server.namespace, ports=(tracking_server.port,)
        )
    elif tracking_server.uri and tracking_server.uri.startswith(("http://", "https://")):
        for destination in of_url(plan, "tracking.uri", tracking_server.uri):
            ports = tuple(sorted({tracking_server.port, port_of(tracking_server.uri)}))
            yield Destination(
                destination.path, destination.what, destination.namespace, destination.cidr, destination.ports or ports
            )
    elif any(ModelURI.parse(uri).is_mlflow for uri in models):
        yield Destination("model", "the tracking server")


def models(plan: ManifestPlan) -> Iterator[Destination]:
    """Models outside the registry. Only the tracking server knows where its artifacts are."""
    spec = plan.spec
    for path, uri in (("model", spec.model), *([("canary.model", plan.canary.uri)] if plan.canary else [])):
        if uri.startswith(("http://", "https://")):
            yield from of_url(plan, path, uri)
        elif not ModelURI.parse(uri).is_mlflow and not uri.startswith(("pvc://", "oci://")):  # fetched by the kubelet
            yield Destination(path, uri)


def helpers(plan: ManifestPlan) -> Iterator[Destination]:
    """Destinations for features, keys, traces and packages."""
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
    """At most one destination. Ports of Services differ from those of pods, so all ports of a namespace are allowed."""
    host = urlsplit(url).hostname or ""
    match = IN_CLUSTER.fullmatch(host)
    if not match and url.startswith("http://"):
        match = IN_CLUSTER_SHORT.fullmatch(host)
    if match:
        yield Destination(path, host, namespace=match["namespace"])
        return
    try:
        address = ip_address(host)
    except ValueError:
        if host == "localhost" or not host:
            return
        # Without a dot it is a Service in the same namespace.
        yield Destination(path, host, namespace=None if "." in host else plan.spec.namespace)
        return
    if not address.is_loopback:
        yield Destination(path, host, cidr=f"{address}/{address.max_prefixlen}", ports=(port_of(url),))


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
