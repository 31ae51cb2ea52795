"""Environment variables of containers: the predictor's settings, and those in the spec."""

from __future__ import annotations

import json
import math
from typing import Any

from generator.plan import ManifestPlan, Served
from generator.spec.pods import ConfigMapKey, EnvValue, SecretKey
from generator.spec.values import Part, quantity, seconds
from predictors.uris import ModelURI

MODEL_DIR = "/mnt/models"
CACHE_DIR = "/model-cache"
SECRETS_DIR = "/etc/mlflow-kserve"
LOAD_SHARE = 0.9  # of the time within which a pod has to start


def variable(name: str, value: EnvValue) -> dict[str, Any]:
    """One entry of a container's env."""
    if isinstance(value, SecretKey):
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": value.secret, "key": value.key}}}
    if isinstance(value, ConfigMapKey):
        return {"name": name, "valueFrom": {"configMapKeyRef": {"name": value.config_map, "key": value.key}}}
    if isinstance(value, bool):
        return {"name": name, "value": "true" if value else "false"}
    return {"name": name, "value": f"{value:g}" if isinstance(value, float) else str(value)}


def variables(values: dict[str, EnvValue]) -> list[dict[str, Any]]:
    return [variable(name, value) for name, value in values.items()]


def env_from(names: list[str]) -> list[dict[str, Any]]:
    return [{"secretRef": {"name": name}} for name in dict.fromkeys(names)]


def tracking(plan: ManifestPlan) -> dict[str, EnvValue]:
    uri = plan.spec.tracking.uri
    return {"MLFLOW_TRACKING_URI": uri} if uri else {}


def tracking_secrets(plan: ManifestPlan) -> list[str]:
    return [plan.spec.tracking.secret] if plan.spec.tracking.secret else []


def predictor(plan: ManifestPlan, served: Served) -> dict[str, EnvValue]:
    """The predictor's settings as environment variables, without its defaults."""
    spec = plan.spec
    env: dict[str, EnvValue] = {}
    if plan.strategy == "server" or ModelURI.parse(served.uri).is_mlflow:
        env["MODEL_URI"] = served.uri  # next to a local folder, the URI to poll in the registry
    if plan.strategy != "server":
        env["MODEL_LOCAL_PATH"] = MODEL_DIR
    elif spec.predictor == "runtime":
        env["MODEL_LOCAL_PATH"] = ""  # our ServingRuntimes set it
    env |= tracking(plan)
    if served.forced:
        env["MLFLOW_KSERVE_FLAVOR"] = served.flavor
    if spec.workers > 1:
        env["MLFLOW_KSERVE_WORKERS"] = spec.workers
    if spec.protocol != "grpc" and plan.knative:
        env["MLFLOW_KSERVE_ENABLE_GRPC"] = False  # Knative routes to one port
    # A first model that hangs is given up, with the reason in the log, before the startup probe ends its container.
    env["MLFLOW_KSERVE_LOAD_TIMEOUT"] = math.floor(LOAD_SHARE * seconds(spec.probes.start_within))
    env["MLFLOW_KSERVE_REQUEST_TIMEOUT"] = seconds(spec.timeout)
    # Knative's proxy stops sending requests to a pod before the pod ends.
    env["MLFLOW_KSERVE_DRAIN_DELAY"] = 0 if plan.knative else seconds(spec.drain_delay)
    env["MLFLOW_KSERVE_GRACE_PERIOD"] = math.ceil(seconds(spec.grace_period))  # whole seconds only
    return (
        env
        | behaviour(plan)
        | candidate(plan, served)
        | access(plan)
        | telemetry(plan)
        | features(plan)
        | prediction_log(plan)
        | drift(plan)
        | spec.env
    )


def behaviour(plan: ManifestPlan) -> dict[str, EnvValue]:
    reload, dependencies = plan.spec.reload, plan.spec.dependencies
    env: dict[str, EnvValue] = {}
    if reload.interval is not None:
        env["MODEL_RELOAD_INTERVAL"] = seconds(reload.interval)
    if reload.allow_signature_change:
        env["MLFLOW_KSERVE_ALLOW_SIGNATURE_CHANGE"] = True
    if reload.webhook_secret:
        env["MLFLOW_WEBHOOK_SECRET_FILE"] = f"{SECRETS_DIR}/webhook/secret"
    if dependencies.policy != "check":
        env["MLFLOW_KSERVE_DEPENDENCIES"] = {"off": "ignore"}.get(dependencies.policy, dependencies.policy)
    if dependencies.env_manager != "local":
        env["MLFLOW_KSERVE_ENV_MANAGER"] = dependencies.env_manager
        env["MLFLOW_KSERVE_ENV_CACHE"] = "/environments"
    return env


def candidate(plan: ManifestPlan, served: Served) -> dict[str, EnvValue]:
    """The candidate beside the stable model: a canary is compared as it is."""
    beside = plan.spec.candidate
    if beside is None or served is not plan.stable:
        return {}
    env: dict[str, EnvValue] = {"MLFLOW_KSERVE_CANDIDATE": beside.model}
    if beside.mode != "split":
        env["MLFLOW_KSERVE_CANDIDATE_MODE"] = beside.mode
    if beside.percent is not None:
        env["MLFLOW_KSERVE_CANDIDATE_SHARE"] = f"{beside.percent}%"
    if beside.key is not None:
        env["MLFLOW_KSERVE_CANDIDATE_KEY"] = beside.key
    return env


def access(plan: ManifestPlan) -> dict[str, EnvValue]:
    auth = plan.spec.auth
    env: dict[str, EnvValue] = {}
    if auth.tokens:
        env["MLFLOW_KSERVE_TOKEN_FILE"] = f"{SECRETS_DIR}/tokens/tokens"
    if auth.admin_tokens:
        env["MLFLOW_KSERVE_ADMIN_TOKEN_FILE"] = f"{SECRETS_DIR}/admin-tokens/tokens"
    if auth.jwt:
        env["MLFLOW_KSERVE_JWT_JWKS"] = auth.jwt.jwks
        for name, value in (
            ("ISSUER", auth.jwt.issuer),
            ("AUDIENCE", auth.jwt.audience),
            ("ADMIN_SCOPE", auth.jwt.admin_scope),
        ):
            if value:
                env[f"MLFLOW_KSERVE_JWT_{name}"] = value
    if auth.rate_limit:
        env["MLFLOW_KSERVE_RATE_LIMIT"] = auth.rate_limit
    if auth.tls_secret:
        env["KSERVE_TLS_CERT_FILE"] = f"{SECRETS_DIR}/tls/tls.crt"
        env["KSERVE_TLS_KEY_FILE"] = f"{SECRETS_DIR}/tls/tls.key"
    return env


def telemetry(plan: ManifestPlan) -> dict[str, EnvValue]:
    logging, tracing = plan.spec.logging, plan.spec.tracing
    env: dict[str, EnvValue] = {"MLFLOW_KSERVE_LOG_FORMAT": logging.format}
    if logging.access_log:
        env["MLFLOW_KSERVE_ACCESS_LOG"] = True
    if logging.level != "info":
        env["MLFLOW_KSERVE_LOG_LEVEL"] = logging.level
    if tracing:
        env["OTEL_SERVICE_NAME"] = plan.spec.name
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = tracing.endpoint
        env["OTEL_TRACES_SAMPLER"] = "parentbased_traceidratio"
        env["OTEL_TRACES_SAMPLER_ARG"] = tracing.sample
    return env


def features(plan: ManifestPlan) -> dict[str, EnvValue]:
    feast = plan.spec.feast
    if feast is None:
        return {}
    named: dict[str, EnvValue | None] = {
        "FEAST_FEATURE_SERVICE": feast.feature_service,
        "FEAST_FEATURES": ",".join(feast.features),
        "FEAST_ENTITIES": ",".join(f"{key}={column}" for key, column in feast.entities.items()),
        "FEAST_SERVER_URL": feast.server_url,
        "FEAST_REPO_PATH": feast.repo_path,
        "FEAST_TOKEN_FILE": f"{SECRETS_DIR}/feast/token" if feast.token else None,
        "MLFLOW_KSERVE_FEAST_MISSING": feast.missing,
        "MLFLOW_KSERVE_FEAST_STALE": feast.stale,
        "MLFLOW_KSERVE_FEAST_UNAVAILABLE": feast.unavailable,
        "MLFLOW_KSERVE_FEAST_DEFAULTS": json.dumps(feast.defaults) if feast.defaults else None,
    }
    times = {"TIMEOUT": feast.timeout, "MAX_AGE": feast.max_age, "CACHE_TTL": feast.cache_ttl}
    named |= {f"MLFLOW_KSERVE_FEAST_{name}": seconds(text) for name, text in times.items() if text is not None}
    return {name: value for name, value in named.items() if value not in (None, "")}


def prediction_log(plan: ManifestPlan) -> dict[str, EnvValue]:
    log = plan.spec.prediction_log
    if log is None:
        return {}
    values: dict[str, EnvValue] = {
        "sample": log.sample,
        "exclude": ",".join(log.exclude),
        "hash": ",".join(log.hash),
        "hash_key": f"{SECRETS_DIR}/prediction-log-key/key",
        "max_age": seconds(log.max_age),
        "max_size": int(quantity(log.max_size)),
        "queue": log.queue,
        "queue_size": int(quantity(log.queue_size)),
    }
    names = {"hash_key": "hash_key_file", "queue_size": "queue_bytes"}
    changed = {names.get(name, name): values[name] for name in differing(log) if name in values}
    return {"MLFLOW_KSERVE_PREDICTION_LOG": log.to} | {
        f"MLFLOW_KSERVE_PREDICTION_LOG_{name.upper()}": value for name, value in changed.items()
    }


def drift(plan: ManifestPlan) -> dict[str, EnvValue]:
    settings = plan.spec.drift
    values: dict[str, EnvValue] = {
        "mode": settings.mode,
        "window": settings.window if settings.window.endswith("rows") else seconds(settings.window),
        "interval": seconds(settings.interval),
        "min_rows": settings.min_rows,
        "baseline_rows": settings.baseline_rows,
    }
    names = {"mode": "MLFLOW_KSERVE_DRIFT"}
    return {names.get(name, f"MLFLOW_KSERVE_DRIFT_{name.upper()}"): values[name] for name in differing(settings)}


def differing(part: Part) -> list[str]:
    """The fields that differ from the predictor's defaults."""
    return [name for name, field in type(part).model_fields.items() if getattr(part, name) != field.default]
