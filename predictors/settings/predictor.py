"""Every setting once: its flag, its environment variables, its default and its help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from predictors.access.addresses import FORWARDED, Network, networks
from predictors.access.limits import Rate, rate
from predictors.flavor import FLAVORS
from predictors.settings.declare import setting
from predictors.settings.features import POLICIES, STALE_POLICIES, assignments, positive, references, values
from predictors.settings.span import Span, span
from predictors.settings.values import above, between, choice, names, port, seconds, share, size, some_of, truth
from predictors.telemetry.logs import FORMATS
from predictors.uris import spelled


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a predictor process."""

    model_uri: str | None = setting(
        None,
        "what to serve: a folder, models:/name/3, models:/name@alias, models:/name/Stage, models:/name/latest, "
        "models:/m-…, runs:/id/path, mlflow-artifacts:/…, s3://…, or anything else MLflow resolves; also with KServe's "
        "scheme: mlflow://models/name@alias",
        spelled,
        env=("MLFLOW_MODEL_URI", "MODEL_URI"),
        metavar="URI",
        group="Model",
        shown="/mnt/models if a model is there, else a demo model",
    )
    model_local_path: str | None = setting(
        None,
        "folder of a model that is already downloaded; wins over the model URI",
        env=("MODEL_LOCAL_PATH",),
        flags=("--model-dir",),
        metavar="FOLDER",
        group="Model",
    )
    model_name: str = setting("model", "name of the model in URLs", env=("MODEL_NAME",), group="Model", metavar="NAME")
    model_version: str | None = setting(
        None,
        "version in replies and URLs",
        env=("MODEL_VERSION",),
        group="Model",
        shown="the registry's version, else the model's id",
    )
    flavor: str | None = setting(
        None,
        "serve with this flavor rather than the one detected",
        choice(*(flavor.name for flavor in FLAVORS)),
        group="Model",
        shown="detected",
    )
    tracking_uri: str | None = setting(
        None, "MLflow tracking server", env=("MLFLOW_TRACKING_URI",), group="Model", shown="MLflow's own", metavar="URI"
    )
    tracking_username: str | None = setting(
        None, "user at the tracking server", env=("MLFLOW_TRACKING_USERNAME",), group="Model"
    )
    tracking_password: str | None = setting(
        None, "password at the tracking server", env=("MLFLOW_TRACKING_PASSWORD",), group="Model", secret=True
    )
    download_retries: int = setting(
        3, "how often a failed download is tried again", between(0), env=("MAX_RETRIES",), group="Model"
    )
    download_backoff: float = setting(
        5.0, "seconds before the first retry, doubled each time", seconds, env=("BACKOFF_SECONDS",), group="Model"
    )
    allow_code_execution: bool = setting(
        True,
        "false refuses models whose loading runs code they bring along (pickle, code paths, custom pyfunc)",
        truth,
        group="Safety",
    )
    skops_trusted: frozenset[str] | None = setting(
        None,
        "types that skops files may hold, separated by commas; the model's own list cannot widen it",
        names,
        group="Safety",
        shown="the model's own list",
    )
    dependencies: str = setting(
        "check",
        "where what is installed differs from what the model asks for: 'check' says so, 'strict' refuses the model, "
        "'ignore' does not look",
        choice("check", "strict", "ignore"),
        group="Dependencies",
    )
    env_manager: str = setting(
        "local",
        "where the model's packages come from: 'local' is what is installed, 'uv' and 'virtualenv' install what the "
        "model asks for into an environment that is kept, and serve in it",
        choice("local", "uv", "virtualenv"),
        group="Dependencies",
    )
    env_cache: str | None = setting(
        None,
        "folder that keeps these environments; servers may share it",
        metavar="FOLDER",
        group="Dependencies",
        shown="~/.cache/mlflow-kserve/environments",
    )
    probabilities: bool = setting(
        True, "add class probabilities to the replies of classifiers", truth, group="Predictions"
    )
    warm_up: bool = setting(
        True,
        "run the model's own input example before it is ready; a model that fails on it is not served",
        truth,
        group="Predictions",
    )
    engine: str = setting(
        "auto",
        "what computes predictions: 'auto' takes a faster engine that proved itself against the model, converted or "
        "not, 'native' none that is converted, 'compiled' only a converted one",
        choice("auto", "native", "compiled"),
        group="Predictions",
    )
    nan: str = setting(
        "null",
        "NaN and infinity in JSON replies: 'null' writes null, 'error' answers 500",
        choice("null", "error"),
        group="Predictions",
    )
    feast: bool = setting(True, "look up the features that a model declares", truth, group="Features")
    feast_feature_service: str | None = setting(
        None, "Feast's feature service to look up", env=("FEAST_FEATURE_SERVICE",), group="Features", metavar="NAME",
        shown="what the model declares",
    )  # fmt: skip
    feast_features: tuple[str, ...] = setting(
        (), "features instead of a feature service: view:feature, separated by commas", references,
        env=("FEAST_FEATURES",), group="Features", metavar="NAMES", shown="what the model declares",
    )  # fmt: skip
    feast_entities: dict[str, str] | None = setting(
        None, "join keys, separated by commas, where columns of requests have other names as key=column", assignments,
        env=("FEAST_ENTITIES",), group="Features", metavar="NAMES", shown="what the model declares",
    )  # fmt: skip
    feast_repo_path: str | None = setting(
        None, "folder with feature_store.yaml: the online store is asked directly", env=("FEAST_REPO_PATH",),
        group="Features", metavar="FOLDER",
    )  # fmt: skip
    feast_server_url: str | None = setting(
        None, "address of Feast's feature server, which is asked instead", env=("FEAST_SERVER_URL",), group="Features",
        metavar="URL",
    )  # fmt: skip
    feast_token_file: str | None = setting(
        None, "file with the token that Feast's server wants", env=("FEAST_TOKEN_FILE",), group="Features",
        metavar="FILE",
    )  # fmt: skip
    feast_timeout: float = setting(0.5, "seconds for a lookup, with its retry", positive, group="Features")
    feast_retries: int = setting(
        1, "how often a failed lookup is tried again in that time", between(0), group="Features"
    )
    feast_missing: str | None = setting(
        None, "features that Feast does not have: 'error' answers 424, 'null' and 'default' go on with these",
        choice(*POLICIES), group="Features", shown="what the model declares, else error",
    )  # fmt: skip
    feast_stale: str | None = setting(
        None, "features that are too old: the same, and 'serve' takes them as they are",
        choice(*STALE_POLICIES), group="Features", shown="what the model declares, else error",
    )  # fmt: skip
    feast_unavailable: str | None = setting(
        None, "features while Feast does not answer: 'error' answers 503, 'null' and 'default' go on with these",
        choice(*POLICIES), group="Features", shown="what the model declares, else error",
    )  # fmt: skip
    feast_defaults: dict[str, Any] | None = setting(
        None, "values by column for 'default', as a JSON object", values, group="Features", metavar="JSON",
        shown="what the model declares",
    )  # fmt: skip
    feast_max_age: float | None = setting(
        None, "seconds after which a feature is too old", positive, group="Features", metavar="SECONDS",
        shown="what the model declares, else what its feature view allows",
    )  # fmt: skip
    feast_cache_ttl: float = setting(
        0.0, "seconds that features are kept for the next request with the same entities; 0 for none", seconds,
        group="Features",
    )  # fmt: skip
    feast_cache_rows: int = setting(10_000, "entities that are kept at most", between(1), group="Features")
    feast_refresh: float = setting(
        60.0, "seconds between looks at Feast's registry, in the background", positive, group="Features",
        metavar="SECONDS",
    )  # fmt: skip
    reload_interval: float = setting(
        30.0,
        "seconds between looks at the registry, for a URI that can move (an alias, a stage, latest); 0 for none",
        seconds,
        env=("MODEL_RELOAD_INTERVAL",),
        group="Reload",
    )
    allow_signature_change: bool = setting(
        False, "take a new version even if requests of today would not fit it", truth, group="Reload"
    )
    webhook_secret_file: str | None = setting(
        None,
        "file with the secret of an MLflow registry webhook that POSTs to /hooks/mlflow",
        env=("MLFLOW_WEBHOOK_SECRET_FILE",),
        metavar="FILE",
        group="Reload",
    )
    max_in_flight: int = setting(
        1000, "prediction requests that may wait or be worked upon in each process", between(1), group="Overload"
    )
    max_in_flight_bytes: int = setting(
        0,
        "bytes of prediction requests that each process may hold at a time",
        size,
        group="Overload",
        shown="four times --max-body",
    )
    max_wait: float = setting(
        1.0,
        "seconds that a request may be expected to wait for its turn before it is refused; 0 for any time",
        seconds,
        group="Overload",
    )
    request_timeout: float = setting(
        60.0, "seconds after which a prediction is given up with 504, 0 for never", seconds, group="Overload"
    )
    read_timeout: float = setting(
        30.0,
        "seconds for a request to arrive, plus one for each 8 KiB of its body; also for a reply of which nothing is "
        "taken; 0 for any time",
        seconds,
        group="Overload",
    )
    host: str = setting("0.0.0.0", "address to listen on")  # noqa: S104 - a container is reached from outside
    http_port: int = setting(8080, "HTTP port, 0 for a free one", port)
    grpc_port: int = setting(8081, "gRPC port, 0 for a free one", port)
    enable_grpc: bool = setting(True, "serve gRPC", truth)
    workers: int = setting(1, "server processes", between(1, 256))
    max_threads: int = setting(
        0, "threads that run predictions in each process", between(0), shown="as many as CPUs, at least 4"
    )
    max_body: int = setting(64 * 1024**2, "largest request body", size, shown="64MiB")
    keep_alive: int = setting(
        65, "seconds that an idle connection is kept", between(1), flags=("--timeout-keep-alive",)
    )
    drain_delay: float | None = setting(
        None,
        "seconds between SIGTERM, when the server turns unready, and the end of new connections",
        seconds,
        shown="10 in a Kubernetes pod, else 0",
    )
    grace_period: int = setting(30, "seconds for requests in flight to finish after that", between(0))
    worker_timeout: float = setting(
        60.0, "seconds without a sign of life after which one of several workers is replaced; 0 for never", seconds
    )
    ssl_certfile: str | None = setting(
        None,
        "certificate file for HTTPS and gRPC, with the chain; HTTPS is on port 8443 unless --http-port is given",
        env=("KSERVE_TLS_CERT_FILE",),
        metavar="FILE",
    )
    ssl_keyfile: str | None = setting(None, "key file for HTTPS and gRPC", env=("KSERVE_TLS_KEY_FILE",), metavar="FILE")
    ssl_ca_certs: str | None = setting(
        None, "certificates of authorities; clients must then show a certificate of one of them", metavar="FILE"
    )
    access_log: bool = setting(False, "log a line per request", truth)
    token_file: str | None = setting(
        None, "tokens that callers need, one a line: token, name:token or name:sha256:digest", metavar="FILE",
        group="Access",
    )  # fmt: skip
    admin_token_file: str | None = setting(
        None, "tokens that open everything, also load, revert and unload", metavar="FILE", group="Access"
    )
    probe_token_file: str | None = setting(
        None, "tokens that open only what --protect names, which those of callers then do not", metavar="FILE",
        group="Access",
    )  # fmt: skip
    protect: frozenset[str] = setting(
        frozenset(), "what needs a token besides: health, metrics, or both", some_of("health", "metrics"),
        group="Access", metavar="NAMES", shown="none: both are open",
    )  # fmt: skip
    jwt_jwks: str | None = setting(
        None, "keys of the issuer of JWTs: a JWKS file or its URL", metavar="FILE|URL", group="Access"
    )
    jwt_issuer: str | None = setting(None, "issuer (iss) that JWTs must have", metavar="URL", group="Access")
    jwt_audience: frozenset[str] = setting(
        frozenset(), "audience (aud) that JWTs must have, one of these", names, group="Access", shown="none"
    )
    jwt_admin_scope: str | None = setting(
        None,
        "scope or role of JWTs that open everything, also load, revert and unload",
        group="Access",
        metavar="SCOPE",
    )
    drift: str = setting(
        "auto",
        "measure how far inputs and predictions move from the model's drift profile: 'auto' where the model brings "
        "one along, 'on' also where it does not, against the first rows that it answers",
        choice("auto", "on", "off"),
        group="Drift",
    )
    drift_window: Span = setting(
        Span(seconds=3600),
        "what is compared with the profile: the last seconds (900, 15m, 1h) or rows (10000rows)",
        span,
        group="Drift",
        shown="1h",
        metavar="WINDOW",
    )
    drift_interval: float = setting(
        1.0, "seconds between two measurements", above(0.05), group="Drift", metavar="SECONDS"
    )
    drift_min_rows: int = setting(
        200, "rows that the window must hold for drift to be reported", between(1), group="Drift"
    )
    drift_baseline_rows: int = setting(
        2000, "first rows that stand for a profile where the model has none", between(10), group="Drift"
    )
    rate_limit: Rate | None = setting(None, "predictions for each client: 100/s, 6000/m, 10000/h", rate, group="Access")
    rate_burst: int | None = setting(
        None, "how many of them may come at once", between(1), group="Access", shown="the number in --rate-limit"
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (), "proxies that tell the addresses of their clients: addresses or networks, separated by commas", networks,
        group="Access", shown="none",
    )  # fmt: skip
    forwarded_header: str = setting(FORWARDED[0], "header in which they tell them", choice(*FORWARDED), group="Access")
    prediction_log: str | None = setting(
        None,
        "where to write what was asked and answered: a folder or a URL such as s3://bucket/prefix (Parquet files), "
        "http://… (CloudEvents), or stdout (JSON lines)",
        group="Prediction log",
        metavar="WHERE",
        secret=True,
    )
    prediction_log_sample: float = setting(
        1.0, "share of the predictions that are written", share, group="Prediction log", metavar="SHARE"
    )
    prediction_log_exclude: frozenset[str] = setting(
        frozenset(), "columns that are not written", names, group="Prediction log", shown="none"
    )
    prediction_log_hash: frozenset[str] = setting(
        frozenset(), "columns of which only a SHA-256 hash is written", names, group="Prediction log", shown="none"
    )
    prediction_log_hash_key_file: str | None = setting(
        None, "file with the key of these hashes, which are then HMACs", group="Prediction log", metavar="FILE"
    )
    prediction_log_max_age: float = setting(
        300.0, "seconds after which a Parquet file is finished", seconds, group="Prediction log"
    )
    prediction_log_max_size: int = setting(
        64 * 1024**2, "bytes after which it is finished, in memory", size, group="Prediction log", shown="64MiB"
    )
    prediction_log_queue: int = setting(
        10_000, "records that may wait in each process; more are dropped", between(1), group="Prediction log"
    )
    prediction_log_queue_bytes: int = setting(
        64 * 1024**2, "bytes of requests and replies that may wait so", size, group="Prediction log", shown="64MiB"
    )
    log_level: str = setting("info", "log level", choice("debug", "info", "warning", "error"))
    log_format: str = setting(
        "text", "log lines as text, or as one JSON object each", choice(*FORMATS), group="Observability"
    )
