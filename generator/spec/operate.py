"""Operation of the predictor: reload, dependencies, access, logs, features, monitoring."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from generator.spec.pods import SecretKey
from generator.spec.values import Annotations, Duration, Labels, Name, Part, Subdomain, Url, matching


class Reload(Part):
    """Following an alias while serving."""

    interval: Duration | None = Field(
        None, description="time between polls of the registry; 0s for never; default: 30s"
    )
    webhook_secret: SecretKey | None = Field(None, description="secret of the registry's webhook to /hooks/mlflow")
    allow_signature_change: bool = False
    """load a new version even if current requests would not match its signature"""


class Dependencies(Part):
    """Handling of packages that differ between the model and the image."""

    policy: Literal["check", "strict", "off"] = "check"
    """where packages differ: 'check' logs a warning, 'strict' refuses the model, 'off' does not compare"""
    env_manager: Literal["local", "uv", "virtualenv"] = "local"
    """'local' uses the packages of the image; 'uv' and 'virtualenv' install those of the model"""
    cache_claim: Subdomain | None = Field(
        None, description="PersistentVolumeClaim that keeps the environments of uv or virtualenv"
    )

    @model_validator(mode="after")
    def cache_needs_environments(self) -> Dependencies:
        if self.cache_claim and self.env_manager == "local":
            raise ValueError("cache_claim keeps what env_manager: uv or virtualenv makes, and 'local' makes nothing")
        return self


class Jwt(Part):
    """Accepted JWTs."""

    jwks: str = Field(description="URL of the issuer's keys")
    issuer: Annotated[str, Field(min_length=1)]
    """required issuer (iss)"""
    audience: Annotated[str, Field(min_length=1)]
    """required audience (aud)"""
    admin_scope: str | None = None
    """scope or role that allows everything, including load, revert and unload"""


class Auth(Part):
    """Authentication of callers."""

    tokens: SecretKey | None = Field(None, description="file of bearer tokens, one per line")
    admin_tokens: SecretKey | None = None
    """tokens that allow everything, including load, revert and unload"""
    jwt: Jwt | None = None
    """accepted JWTs"""
    rate_limit: Annotated[str, matching(r"[1-9]\d{0,8}/[smh]", "a rate: expected such as 100/s")] | None = None
    """predictions per client, such as 100/s"""
    tls_secret: Subdomain | None = Field(
        None, description="Secret of type kubernetes.io/tls that the predictor serves with"
    )


class PayloadLogger(Part):
    """KServe's payload logger, which sends requests and responses as CloudEvents."""

    mode: Literal["all", "request", "response"] = "all"
    """which payloads are sent"""
    url: Url | None = None
    """URL of the sink; default: the one that KServe is configured with"""
    metadata_headers: list[str] = []
    """request headers that are included"""


class Batcher(Part):
    """KServe's batcher sidecar; the predictor itself batches for every protocol."""

    max_batch_size: Annotated[int, Field(ge=1)] = 32
    """maximum number of requests in a batch"""
    max_latency: Duration = "10ms"
    """maximum time that the first request waits for others"""
    timeout: Duration | None = None
    """time limit for the response to a batch"""


Instead = Literal["error", "null", "default"]


class Feast(Part):
    """Features that the predictor looks up in Feast; defaults are what the model declares."""

    feature_service: str | None = None
    """name of the feature service"""
    features: list[Annotated[str, matching(r"[^:,]+:[^:,]+", "a reference: expected such as view:feature")]] = []
    """features instead of a feature service, as view:feature"""
    entities: dict[str, str] = {}
    """join keys, and the request columns that hold them"""
    server_url: Url | None = None
    """URL of Feast's feature server"""
    repo_path: str | None = None
    """folder with feature_store.yaml in the container"""
    repo_config_map: Subdomain | None = Field(
        None, description="ConfigMap with feature_store.yaml, mounted at repo_path"
    )
    token: SecretKey | None = Field(None, description="token for Feast's feature server")
    timeout: Duration | None = None
    """time limit for a lookup"""
    missing: Instead | None = None
    """handling of features that Feast does not have"""
    stale: Instead | Literal["serve"] | None = None
    """handling of features that are older than max_age"""
    unavailable: Instead | None = None
    """handling of features while Feast does not respond"""
    defaults: dict[str, Any] = {}
    """values by column, used by 'default'"""
    max_age: Duration | None = None
    """age above which a feature is stale"""
    cache_ttl: Duration | None = None
    """how long features are cached for requests with the same entities"""

    @model_validator(mode="after")
    def reachable(self) -> Feast:
        if (self.server_url is None) == (self.repo_path is None):
            raise ValueError("expected either server_url or repo_path")
        if self.repo_config_map and not self.repo_path:
            raise ValueError("repo_config_map is mounted at repo_path: expected it")
        if self.feature_service and self.features:
            raise ValueError("expected one of feature_service and features")
        if self.token and not self.server_url:
            raise ValueError("a token is for Feast's server: expected server_url with it")
        return self


class Logging(Part):
    """The predictor's logs."""

    access_log: bool = False
    """whether each request is logged"""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """lowest level that is logged"""
    format: Literal["text", "json"] = "json"
    """lines of text, or of one JSON object each"""


class Tracing(Part):
    """OpenTelemetry traces."""

    endpoint: Url
    """URL to which spans are sent, over OTLP"""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """share of requests that start a trace"""


class Slo(Part):
    """Service level objectives; alerts fire when they are about to be missed. null drops an objective."""

    availability: float | None = 99.9
    """percent of requests that do not fail with a server error"""
    p50: Duration | None = Field("100ms", description="50 % of predictions take no longer")
    p95: Duration | None = Field("500ms", description="95 % of predictions take no longer")
    p99: Duration | None = Field("1s", description="99 % of predictions take no longer")


class Monitoring(Part):
    """Collection of metrics, alerts and dashboards."""

    scrape: Literal["annotations", "podmonitor", "servicemonitor", "off"] = "annotations"
    """how Prometheus finds the pods"""
    interval: Duration = "30s"
    """scrape interval, with a monitor"""
    labels: Labels = Field({}, description="labels by which the Prometheus operator finds monitors and rules")
    namespace: Name | None = Field(None, description="namespace of Prometheus, for the NetworkPolicy")
    prometheus: Url | None = Field(None, description="URL of Prometheus, for scaling by its metrics")
    rules: bool = False
    """whether to emit a PrometheusRule with alerts"""
    slo: Slo = Slo()
    """objectives that the alerts check"""
    runbooks: Url | None = Field(None, description="base URL of the pages in docs/runbooks, for links in alerts")
    dashboard: bool = False
    """whether to emit a ConfigMap with dashboards, for Grafana's sidecar"""


class ServiceAccount(Part):
    """The identity of the pods."""

    name: Name | None = Field(
        None, description="name of the ServiceAccount, existing or created; default, if created: the serve's name"
    )
    create: bool = False
    """whether to emit the ServiceAccount"""
    annotations: Annotations = Field({}, description="for workload identities: eks.amazonaws.com/role-arn, …")
