"""How the predictor behaves once it runs: reload, dependencies, access, logs, features, monitoring."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from generator.spec.pods import SecretKey
from generator.spec.values import Annotations, Duration, Labels, Name, Part, Subdomain, Url, matching


class Reload(Part):
    """Following an alias while it serves."""

    interval: Duration | None = Field(
        None, description="between looks at the registry; 0s for never; 30s when left out"
    )
    webhook_secret: SecretKey | None = Field(None, description="the secret of the registry's webhook to /hooks/mlflow")
    allow_signature_change: bool = False
    """take a new version even if requests of today would not fit it"""


class Dependencies(Part):
    """What happens when the model asks for other packages than the image has."""

    policy: Literal["check", "strict", "off"] = "check"
    """where packages differ: 'check' says so, 'strict' refuses the model, 'off' does not look"""
    env_manager: Literal["local", "uv", "virtualenv"] = "local"
    """'local' is what the image has; the others install what the model asks for"""
    cache_claim: Subdomain | None = Field(
        None, description="claim that keeps the environments that uv or virtualenv made"
    )

    @model_validator(mode="after")
    def kept(self) -> Dependencies:
        if self.cache_claim and self.env_manager == "local":
            raise ValueError("cache_claim keeps what env_manager: uv or virtualenv makes, and 'local' makes nothing")
        return self


class Jwt(Part):
    """JWTs that callers may show."""

    jwks: str = Field(description="URL of the issuer's keys")
    issuer: Annotated[str, Field(min_length=1)]
    """issuer (iss) that JWTs must have"""
    audience: Annotated[str, Field(min_length=1)]
    """audience (aud) that JWTs must have"""
    admin_scope: str | None = None
    """scope or role that opens everything, also load, revert and unload"""


class Auth(Part):
    """What callers of the predictor must show."""

    tokens: SecretKey | None = Field(None, description="file of tokens, one a line")
    admin_tokens: SecretKey | None = None
    """tokens that open everything, also load, revert and unload"""
    jwt: Jwt | None = None
    """JWTs that are good"""
    rate_limit: Annotated[str, matching(r"[1-9]\d{0,8}/[smh]", "a rate: expected such as 100/s")] | None = None
    """predictions for each client, such as 100/s"""
    tls_secret: Subdomain | None = Field(
        None, description="Secret of type kubernetes.io/tls that the predictor serves with"
    )


class PayloadLogger(Part):
    """KServe's logger: sends requests and responses as CloudEvents."""

    mode: Literal["all", "request", "response"] = "all"
    """what is sent"""
    url: Url | None = None
    """where to; the cluster's own sink when left out"""
    metadata_headers: list[str] = []
    """headers of requests that are sent along"""


class Batcher(Part):
    """KServe's batcher beside the predictor; ours batches by itself, for every protocol."""

    max_batch_size: Annotated[int, Field(ge=1)] = 32
    """requests in one batch"""
    max_latency: Duration = "10ms"
    """how long the first waits for others"""
    timeout: Duration | None = None
    """for the answer to a batch"""


Instead = Literal["error", "null", "default"]


class Feast(Part):
    """Features that the predictor looks up; what is left out is as the model declares it."""

    feature_service: str | None = None
    """name of the feature service"""
    features: list[Annotated[str, matching(r"[^:,]+:[^:,]+", "a reference: expected such as view:feature")]] = []
    """features instead of a feature service, as view:feature"""
    entities: dict[str, str] = {}
    """join keys, and the columns of requests that hold them"""
    server_url: Url | None = None
    """address of Feast's server"""
    repo_path: str | None = None
    """folder with feature_store.yaml in the container"""
    repo_config_map: Subdomain | None = Field(
        None, description="ConfigMap with feature_store.yaml, mounted at repo_path"
    )
    token: SecretKey | None = Field(None, description="the token that Feast's server wants")
    timeout: Duration | None = None
    """for a lookup"""
    missing: Instead | None = None
    """what becomes of features that Feast does not have"""
    stale: Instead | Literal["serve"] | None = None
    """what becomes of features that are too old"""
    unavailable: Instead | None = None
    """what becomes of features while Feast does not answer"""
    defaults: dict[str, Any] = {}
    """values by column for 'default'"""
    max_age: Duration | None = None
    """from when on a feature is too old"""
    cache_ttl: Duration | None = None
    """how long features are kept for the next request with the same entities"""

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
    """What the predictor logs."""

    access_log: bool = False
    """a line for each request"""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """the least that is logged"""
    format: Literal["text", "json"] = "json"
    """lines of text, or one JSON object each"""


class Tracing(Part):
    """Spans of OpenTelemetry."""

    endpoint: Url
    """where spans go, over OTLP"""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """share of the requests that begin a trace"""


class Slo(Part):
    """What the serve promises: alerts tell when it is about to be broken. null promises nothing of the kind."""

    availability: float | None = 99.9
    """percent of the requests that are not answered with an error of ours"""
    p50: Duration | None = Field("100ms", description="half of the predictions take no longer")
    p95: Duration | None = Field("500ms", description="95 % of them take no longer")
    p99: Duration | None = Field("1s", description="99 % of them take no longer")


class Monitoring(Part):
    """Who collects the metrics, and what is made of them."""

    scrape: Literal["annotations", "podmonitor", "servicemonitor", "off"] = "annotations"
    """how Prometheus finds the pods"""
    interval: Duration = "30s"
    """between two looks of Prometheus, with a monitor"""
    labels: Labels = Field({}, description="labels by which the Prometheus operator finds monitors and rules")
    namespace: Name | None = Field(None, description="where Prometheus runs, for the NetworkPolicy")
    prometheus: Url | None = Field(None, description="its address, for scaling by what it measures")
    rules: bool = False
    """a PrometheusRule with alerts"""
    slo: Slo = Slo()
    """what the alerts hold the serve to"""
    runbooks: Url | None = Field(None, description="where the pages of docs/runbooks are, for links in alerts")
    dashboard: bool = False
    """a ConfigMap with dashboards, for Grafana's sidecar"""


class ServiceAccount(Part):
    """The identity of the pods."""

    name: Name | None = Field(
        None, description="an existing one, or the one to create; the serve's name when created and left out"
    )
    create: bool = False
    """emit it"""
    annotations: Annotations = Field({}, description="for workload identities: eks.amazonaws.com/role-arn, …")


Extra = dict[str, Any]
