"""The predictor's container says what the predictor understands, and runs as it is told to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from generator import ModelFacts, ServeSpec, render
from generator.resources.environment import MODEL_DIR
from predictors.drift.span import Span
from predictors.flavor import FLAVORS, image_of, read_mlmodel
from predictors.pipeline.settings import Settings
from predictors.serving.startup import read_settings
from predictors.settings.declare import env_of
from tests.serving import process

EVERYTHING: dict[str, Any] = {
    "name": "fraud",
    "model": "models:/fraud@champion",
    "flavor": "pyfunc",
    "workers": 2,
    "candidate": {"model": "models:/fraud@challenger", "mode": "shadow", "percent": 25, "key": "header:x-user"},
    "tracking": {"uri": "http://mlflow.mlflow:5000", "secret": "mlflow"},
    "timeout": "2m",
    "drain_delay": "1500ms",
    "reload": {
        "interval": "1m",
        "webhook_secret": {"secret": "hook", "key": "secret"},
        "allow_signature_change": True,
    },
    "dependencies": {"policy": "strict", "env_manager": "uv", "cache_claim": "environments"},
    "auth": {
        "tokens": {"secret": "callers", "key": "tokens"},
        "admin_tokens": {"secret": "operators", "key": "tokens"},
        "jwt": {
            "jwks": "https://issuer.example.com/keys",
            "issuer": "issuer",
            "audience": "fraud",
            "admin_scope": "admin",
        },
        "rate_limit": "100/s",
        "tls_secret": "fraud-tls",
    },
    "logging": {"access_log": True, "level": "debug", "format": "text"},
    "tracing": {"endpoint": "http://collector:4318", "sample": 0.25},
    "feast": {
        "server_url": "http://feast:6566",
        "feature_service": "fraud",
        "entities": {"user_id": "user"},
        "token": {"secret": "feast", "key": "token"},
        "timeout": "200ms",
        "missing": "default",
        "stale": "serve",
        "unavailable": "null",
        "defaults": {"rate": 0.5},
        "max_age": "1h",
        "cache_ttl": "5s",
    },
    "prediction_log": {
        "to": "http://broker.events/default",
        "sample": 0.25,
        "exclude": ["name", "input.note"],
        "hash": ["user"],
        "hash_key": {"secret": "prediction-log", "key": "hash"},
        "queue": 500,
        "queue_size": "1.5Mi",
    },
    "drift": {"mode": "on", "window": "1d", "interval": "500ms", "min_rows": 50, "baseline_rows": 100},
    "env": {"GREETING": "hello", "NUMBER": 0.5, "KEY": {"secret": "keys", "key": "one"}},
}
# Read by OpenTelemetry, by KServe, or by whoever wrote the spec.
OTHERS = ("OTEL_", "PROTOCOL", "STORAGE_URI", "GREETING", "NUMBER", "KEY")


def predictor(spec: dict[str, Any], facts: dict[str, ModelFacts] | None = None) -> dict[str, Any]:
    documents = render(ServeSpec.model_validate(spec), facts)
    return next(document["spec"]["predictor"] for document in documents if document["kind"] == "InferenceService")


def env_of_container(spec: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in predictor(spec)["containers"][0]["env"]}


def test_every_variable_is_one_that_the_server_reads() -> None:
    env = env_of_container(EVERYTHING)
    known = {name for one in fields(Settings) for name in env_of(one)}
    assert [name for name in env if name not in known and not name.startswith(OTHERS)] == []


@pytest.mark.parametrize("key", ["header:x user", "header:", "cookie:id", "column: "])
def test_a_key_that_the_server_refuses_is_refused(key: str) -> None:
    candidate = EVERYTHING["candidate"] | {"key": key}
    with pytest.raises(ValidationError, match="is not a key: expected header:NAME"):
        ServeSpec.model_validate(EVERYTHING | {"candidate": candidate})
    with pytest.raises(SystemExit):
        read_settings(["--candidate-key", key], {})


def test_the_server_takes_every_value() -> None:
    env = {name: value for name, value in env_of_container(EVERYTHING).items() if "FILE" not in name}
    settings = read_settings(["--model-name=fraud"], env)
    assert settings.model_name == "fraud"
    assert settings.model_uri == "models:/fraud@champion"
    assert str(settings.model_local_path) == MODEL_DIR
    assert settings.tracking_uri == "http://mlflow.mlflow:5000"
    assert settings.request_timeout == 120
    assert settings.drain_delay == 1.5
    assert settings.reload_interval == 60
    assert settings.workers == 2
    assert (settings.candidate, settings.candidate_mode) == ("models:/fraud@challenger", "shadow")
    assert (settings.candidate_share, settings.candidate_key) == (0.25, "header:x-user")
    assert settings.rate_limit is not None
    assert settings.dependencies == "strict"
    assert settings.access_log
    assert (settings.feast_feature_service, settings.feast_server_url) == ("fraud", "http://feast:6566")
    assert (settings.feast_missing, settings.feast_stale, settings.feast_unavailable) == ("default", "serve", "null")
    assert (settings.feast_entities, settings.feast_defaults) == ({"user_id": "user"}, {"rate": 0.5})
    assert (settings.feast_timeout, settings.feast_max_age, settings.feast_cache_ttl) == (0.2, 3600, 5)
    assert (settings.prediction_log, settings.prediction_log_sample) == ("http://broker.events/default", 0.25)
    assert settings.prediction_log_exclude == {"name", "input.note"}
    assert settings.prediction_log_hash == {"user"}
    assert (settings.prediction_log_queue, settings.prediction_log_queue_bytes) == (500, 1.5 * 2**20)
    assert (settings.drift, settings.drift_window, settings.drift_interval) == ("on", Span(seconds=86400), 0.5)
    assert (settings.drift_min_rows, settings.drift_baseline_rows) == (50, 100)


def test_files_of_secrets_are_mounted_where_the_server_reads_them() -> None:
    pod_spec = predictor(EVERYTHING)
    (container,) = pod_spec["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    sources = {volume["name"]: volume for volume in pod_spec["volumes"]}
    assert mounts.keys() == sources.keys()
    files = {one["value"] for one in container["env"] if one["name"].endswith("_FILE")}
    there = set()
    for name, path in mounts.items():
        secret = sources[name].get("secret")
        if secret:
            there |= {
                f"{path}/{item['path']}" for item in secret.get("items", [{"path": "tls.crt"}, {"path": "tls.key"}])
            }
    assert files == there


def test_a_server_runs_by_what_the_manifest_says(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    """The arguments and variables of the container start a real server, and its probes are answered."""
    spec = {"name": "fraud", "model": "models:/fraud@champion", "protocol": "v2", "timeout": "20s"}
    model = zoo("sklearn-logistic")
    facts = {"models:/fraud@champion": ModelFacts.of(read_mlmodel(model).content)}
    (container,) = predictor(spec, facts)["containers"]
    env = {one["name"]: one["value"] for one in container["env"]} | {"MODEL_LOCAL_PATH": str(model)}
    with process(tmp_path, *container["args"], env=env) as started:
        server = started.running
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert server.get(container[probe]["httpGet"]["path"]).status_code == 200
        assert server.get("/v2/models/fraud").status_code == 200


@pytest.mark.parametrize("flavor", [flavor.name for flavor in FLAVORS])
def test_each_flavor_gets_its_image(flavor: str) -> None:
    spec = {
        "name": "x",
        "model": "models:/x/1",
        "flavor": flavor,
        "image_registry": "example.com/ml",
        "image_tag": "1.2",
    }
    (container,) = predictor(spec)["containers"]
    assert container["image"] == image_of(flavor, registry="example.com/ml", tag="1.2")


def test_times_agree_with_the_server() -> None:
    """A pod is not ended before the server is done: drain, grace, and something over."""
    pod_spec = predictor({**EVERYTHING, "drain_delay": "20s", "grace_period": "45s"})
    without_files: dict[str, Any] = {"auth": {}, "reload": {}, "prediction_log": None}
    settings = read_settings(
        [], env_of_container({**EVERYTHING, **without_files, "drain_delay": "20s", "grace_period": "45s"})
    )
    assert settings.drain_delay is not None
    assert pod_spec["terminationGracePeriodSeconds"] > settings.drain_delay + settings.grace_period


@pytest.mark.parametrize(
    "more",
    [
        {"dependencies": {"policy": "off"}},
        {"dependencies": {"policy": "strict"}},
        {"grace_period": "2500ms"},
        {"drain_delay": "250ms"},
        {"timeout": "1500ms"},
        {"workers": 256},
        {"auth": {"rate_limit": "6000/m"}},
        {"storage": {"strategy": "server", "backoff": "100ms"}},
        {"prediction_log": {"to": "stdout", "sample": 0.001, "queue": 1, "queue_size": "2G"}},
        {"prediction_log": {"to": "https://[fd00::1]:8443/events?source=a"}},
        {"drift": {"mode": "off"}},
        {"drift": {"window": "1500ms", "interval": "50ms"}},
        {"drift": {"window": "30rows", "min_rows": 30}},
        {"drift": {"window": 900}},
    ],
)
def test_the_server_takes_each_value_that_a_spec_may_have(more: dict[str, Any]) -> None:
    env = env_of_container({"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", **more})
    assert read_settings(["--model-name=fraud"], env).model_name == "fraud"


NO_PLACES = (
    *("", "logs", "/", "//logs", "/a:b", "STDOUT", "file:///logs", "memory://logs", "http://", "http://:80/"),
    *("http://me:secret@broker/", "s3://key:secret@bucket/logs", "s3://bucket/my logs"),
)


@pytest.mark.parametrize(
    "more",
    [
        {"workers": 257},
        {"auth": {"rate_limit": "0/s"}},
        {"auth": {"rate_limit": "1.5/s"}},
        {"auth": {"jwt": {"jwks": "https://issuer.example.com/keys"}}},
        {"rolling": {"surge": 0}},
        {"rolling": {"surge": "0%", "unavailable": 0}},
        {"rolling": {"surge": "many"}},
        {"security": {"seccomp": "Localhost"}},
        {"feast": {"server_url": "http://feast:6566", "repo_config_map": "feast"}},
        {"dependencies": {"cache_claim": "environments"}},
        {"prediction_log": {}},
        *({"prediction_log": {"to": to}} for to in NO_PLACES),
        {"prediction_log": {"to": "stdout", "claim": "logs"}},
        {"prediction_log": {"to": "stdout", "sample": 0}},
        {"prediction_log": {"to": "stdout", "exclude": ["a,b"]}},
        {"prediction_log": {"to": "stdout", "exclude": ["a", "b"], "hash": ["b"]}},
        {"prediction_log": {"to": "stdout", "hash_key": {"secret": "s", "key": "k"}}},
        {"prediction_log": {"to": "http://broker", "max_age": "1m"}},
        {"prediction_log": {"to": "stdout", "max_size": "64Mi"}},
        {"drift": {"mode": "off", "window": "1h"}},
        {"drift": {"baseline_rows": 100}},
        {"drift": {"mode": "on", "baseline_rows": 9}},
        {"drift": {"interval": "49ms"}},
        {"drift": {"window": "999ms"}},
        {"drift": {"window": "29rows", "min_rows": 1}},
        {"drift": {"window": "100rows"}},
        {"drift": {"window": "many"}},
    ],
)
def test_what_could_never_run_or_would_be_ignored_is_no_spec(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ServeSpec.model_validate({"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", **more})


FOLLOWING = {"model": "models:/fraud@champion", "tracking": {"uri": "http://mlflow:5000"}}


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        ({}, "1Gi"),
        ({"model": "models:/fraud@champion"}, "1Gi"),
        ({**FOLLOWING, "reload": {"interval": "0s"}}, "1Gi"),
        (FOLLOWING, None),
        ({**FOLLOWING, "security": {"tmp_size": "3Gi"}}, "3Gi"),
        ({"storage": {"strategy": "server"}}, None),
        ({"dependencies": {"env_manager": "virtualenv"}}, None),
    ],
)
def test_what_the_predictor_downloads_does_not_end_the_pod(more: dict[str, Any], limit: str | None) -> None:
    pod_spec = predictor({"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", **more})
    tmp = next(volume for volume in pod_spec["volumes"] if volume["name"] == "tmp")
    assert tmp["emptyDir"].get("sizeLimit") == limit


def test_whoever_loads_the_next_version_has_what_the_first_was_fetched_with() -> None:
    spec = {"name": "fraud", "flavor": "sklearn", "storage": {"strategy": "emptydir", "secrets": ["bucket"]}}
    follows = predictor({**spec, **FOLLOWING})["containers"][0]
    assert follows["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    assert "envFrom" not in predictor({**spec, "model": "models:/fraud/7"})["containers"][0]


@pytest.mark.parametrize(("within", "deadline"), [("10m", None), ("30m", "1800s")])
def test_knative_waits_as_long_as_the_startup_probe(within: str, deadline: str | None) -> None:
    spec = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "probes": {"start_within": within}}
    documents = render(ServeSpec.model_validate({**spec, "mode": "Knative"}))
    notes = next(
        document["metadata"]["annotations"] for document in documents if document["kind"] == "InferenceService"
    )
    assert notes.get("serving.knative.dev/progress-deadline") == deadline


@pytest.mark.parametrize(("within", "seconds"), [("10m", "540"), ("90s", "81")])
def test_a_model_that_hangs_is_given_up_before_its_container_is_ended(within: str, seconds: str) -> None:
    spec = {"name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "probes": {"start_within": within}}
    env = predictor(spec)["containers"][0]["env"]
    assert {"name": "MLFLOW_KSERVE_LOAD_TIMEOUT", "value": seconds} in env


@pytest.mark.parametrize(
    ("written", "stored"),
    [("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.5Gi", "512Mi"), ("1000Mi", "1000Mi"), ("1.5G", "1500M"), ("2G", "2G")],
)
def test_sizes_are_spelled_as_a_cluster_stores_them(written: str, stored: str) -> None:
    """Otherwise each `kubectl apply` would say that it changed something."""
    spec = {"name": "fraud", "model": "models:/fraud/3", "flavor": "sklearn", "resources": {"memory": written}}
    (serve,) = render(ServeSpec.model_validate(spec))
    assert serve["spec"]["predictor"]["containers"][0]["resources"]["requests"]["memory"] == stored


@pytest.mark.parametrize(("written", "stored"), [(0.5, "500m"), ("1000m", "1"), ("1500m", "1500m"), (4, "4")])
def test_cores_are_spelled_as_a_cluster_stores_them(written: Any, stored: str) -> None:
    spec = {"name": "fraud", "model": "models:/fraud/3", "flavor": "sklearn", "resources": {"cores": written}}
    (serve,) = render(ServeSpec.model_validate(spec))
    assert serve["spec"]["predictor"]["containers"][0]["resources"]["requests"]["cpu"] == stored
