"""The prediction log and drift: what the server reads, the volume, the key and the way out that they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from generator import ModelFacts, ServeSpec, render
from generator.notes import notes_of
from generator.render import planned
from generator.spec.prediction_log import Drift, PredictionLog
from generator.spec.values import quantity, seconds
from predictors.flavor import read_mlmodel
from predictors.pipeline.settings import Settings
from tests.generator.policies import lets
from tests.generator.refusals import Refusal, noted_until_changed, refused_with_a_way_out
from tests.serving import process, wait_for

BASE: dict[str, Any] = {
    "name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "namespace": "ml", "model_size": "20Mi",
    "tracking": {"uri": "http://mlflow.tracking.svc:5000"},
}  # fmt: skip
OWN = {"image": "registry.example.com/fraud:1"}
CLAIMED = {**OWN, "prediction_log": {"to": "/logs", "claim": "logs"}}
STORE = {**OWN, "prediction_log": {"to": "s3://logs/fraud"}}
SECRET = {"prediction_log": {"to": {"secret": "events", "key": "url"}}}
CLAIM = {"name": "data", "path": "/data", "pvc": "data"}
SHOP = {"network_policy": {"from_namespaces": ["shop"]}}
OPEN = {"network_policy": {"from_namespaces": ["shop"], "allow_to": [{"cidr": "10.0.0.0/8"}]}}


def by_kind(said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in render(ServeSpec.model_validate(BASE | said))}


def pod(said: dict[str, Any]) -> dict[str, Any]:
    return dict(by_kind(said)["InferenceService"]["spec"]["predictor"])


def env(said: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod(said)["containers"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def memory(said: dict[str, Any]) -> float:
    return quantity(pod(said)["containers"][0]["resources"]["requests"]["memory"])


def test_what_nobody_asked_for_is_not_there() -> None:
    assert not [name for name in env({}) if "PREDICTION_LOG" in name or "DRIFT" in name]
    assert [name for name in env({"prediction_log": {"to": "stdout"}}) if "LOG_" in name] == [
        "MLFLOW_KSERVE_LOG_FORMAT"
    ]


def test_the_server_does_by_itself_what_the_spec_leaves_out() -> None:
    """What is its default is not said to it, so that both have to have the same."""
    own: dict[str, Any] = {one.name: one.default for one in fields(Settings)}
    log = PredictionLog(to="stdout")
    assert own["prediction_log_sample"] == log.sample
    assert own["prediction_log_max_age"] == seconds(log.max_age)
    assert own["prediction_log_max_size"] == quantity(log.max_size)
    assert own["prediction_log_queue"] == log.queue
    assert own["prediction_log_queue_bytes"] == quantity(log.queue_size)
    drift = Drift()
    assert own["drift"] == drift.mode
    assert own["drift_window"].seconds == seconds(drift.window)
    assert own["drift_interval"] == seconds(drift.interval)
    assert own["drift_min_rows"] == drift.min_rows
    assert own["drift_baseline_rows"] == drift.baseline_rows


def test_a_server_writes_and_measures_what_the_manifest_says(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    model, logs, key = zoo("sklearn-logistic"), tmp_path / "logs", tmp_path / "key"
    key.write_text("of the house\n")
    logs.mkdir()
    log = {
        "to": str(logs), "claim": "logs", "max_age": "100ms",
        "exclude": ["b"], "hash": ["input.d"], "hash_key": {"secret": "prediction-log", "key": "hash"},
    }  # fmt: skip
    drift = {"mode": "on", "window": "100rows", "min_rows": 10, "baseline_rows": 10, "interval": "50ms"}
    facts = {"models:/fraud/7": ModelFacts.of(read_mlmodel(model).content)}
    spec: dict[str, Any] = {"name": "fraud", "model": "models:/fraud/7", **OWN, "drain_delay": "0s"}
    spec |= {"prediction_log": log, "drift": drift}
    (service, *_) = render(ServeSpec.model_validate(spec), facts)
    (container,) = service["spec"]["predictor"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    here = {"MODEL_LOCAL_PATH": str(model), "MLFLOW_KSERVE_PREDICTION_LOG_HASH_KEY_FILE": str(key)}
    assert here.keys() <= variables.keys()
    rows, asked = [{"a": float(i), "b": 1.0, "c": 2.0, "d": 0.5} for i in range(20)], 0
    with process(tmp_path, *container["args"], env=variables | here) as started:

        def measured() -> bool:
            """The first rows are the profile; those that come later are compared with it."""
            nonlocal asked
            asked += 1
            reply = started.running.post("/v1/models/fraud:predict", {"instances": rows})
            assert reply.status_code == 200, reply.text
            return "\nmodel_feature_psi{" in started.running.get("/metrics").text

        wait_for(measured)
    logged = [row for file in logs.glob("fraud/*/*/*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
    assert len(logged) == 20 * asked
    assert sorted(row["input.a"] for row in logged)[-1] == 19.0
    assert "input.b" not in logged[0]
    assert logged[0]["input.d"] == digest(b"of the house", b"0.5", sha256).hex()


def test_the_folder_is_a_volume_that_can_be_written() -> None:
    pod_spec = pod({**OWN, "prediction_log": {"to": "/logs/", "claim": "logs"}})
    assert {"name": "prediction-log", "mountPath": "/logs"} in pod_spec["containers"][0]["volumeMounts"]
    assert {"name": "prediction-log", "persistentVolumeClaim": {"claimName": "logs"}} in pod_spec["volumes"]
    volume = {"name": "data", "path": "/data", "pvc": "data", "read_only": False}
    pod_spec = pod({**OWN, "prediction_log": {"to": "/data/logs"}, "volumes": [volume]})
    assert "prediction-log" not in {one["name"] for one in pod_spec["volumes"]}


def test_a_url_with_a_password_stays_in_its_secret() -> None:
    assert env(SECRET)["MLFLOW_KSERVE_PREDICTION_LOG"] == {"secretKeyRef": {"name": "events", "key": "url"}}


def test_the_canary_writes_as_the_stable_model_does() -> None:
    canary = {"model": "models:/fraud/8", "percent": 10, "by": "kserve"}
    log = {"prediction_log": {"to": "stdout"}, "storage": {"strategy": "container"}}
    spec = by_kind({**log, "canary": canary})["InferenceService"]["spec"]
    (container,) = spec["canary"][0]["predictor"]["containers"]
    assert {"name": "MLFLOW_KSERVE_PREDICTION_LOG", "value": "stdout"} in container["env"]


def test_records_that_wait_have_room_in_memory() -> None:
    plain, mib = memory({}), 2**20
    lines = {"prediction_log": {"to": "stdout", "queue_size": "512Mi"}}
    files = {**OWN, "prediction_log": {"to": "s3://logs/x", "queue_size": "512Mi", "max_size": "256Mi"}}
    assert memory(lines) == plain + 3 * 512 * mib  # more than on the wire
    assert memory({**lines, "workers": 4}) == plain + 4 * 3 * 512 * mib
    assert memory(files) == plain + (3 * 512 + 2 * 256) * mib  # two files may wait besides
    assert memory({**files, "resources": {"memory": "1Gi"}}) == 1024 * mib


def test_the_broker_is_let_through() -> None:
    policy = by_kind({**SHOP, "prediction_log": {"to": "http://broker.events.svc/x"}})["NetworkPolicy"]
    assert lets(policy, "to", "events", 8080)
    assert not lets(by_kind({**SHOP, "prediction_log": {"to": "stdout"}})["NetworkPolicy"], "to", "events", 8080)


# what is said, where it is wrong, a word of why, and what makes it right
REFUSED: dict[str, Refusal] = {
    "Parquet without what writes it": (
        {"prediction_log": {"to": "s3://logs/fraud"}}, "prediction_log.to", "lack pyarrow", OWN,
    ),
    "an environment does not bring it": (
        {"prediction_log": {"to": "s3://logs/fraud"}, "dependencies": {"env_manager": "virtualenv"}},
        "prediction_log.to", "expected stdout", {"prediction_log": {"to": "stdout"}},
    ),
    "our ServingRuntimes": (
        {"prediction_log": {"to": "s3://logs/fraud"}, "predictor": "runtime"},
        "prediction_log.to", "lack pyarrow", {"runtime": "mine"},
    ),
    "a stable model in our image": (
        {
            "prediction_log": {"to": "s3://logs/fraud"}, "storage": {"strategy": "container"},
            "canary": {"model": "models:/fraud/8", "percent": 1, "image": "mine:1", "by": "kserve"},
        },
        "prediction_log.to", "lack pyarrow", OWN,
    ),
    "a folder that ends with the pod": (
        {**OWN, "prediction_log": {"to": "/tmp/logs"}}, "prediction_log.to", "lost with the pod", CLAIMED,
    ),
    "a folder beside the volume": (
        {**OWN, "prediction_log": {"to": "/database"}, "volumes": [{**CLAIM, "read_only": False}]},
        "prediction_log.to", "expected prediction_log.claim", {"prediction_log": {"to": "/data"}},
    ),
    "a folder that can only be read": (
        {**OWN, "prediction_log": {"to": "/data/logs"}, "volumes": [CLAIM]},
        "prediction_log.to", "'data' is read-only", {"volumes": [{**CLAIM, "read_only": False}]},
    ),
    "a folder of which a part can only be read": (
        {
            **OWN, "prediction_log": {"to": "/data/logs/a"},
            "volumes": [
                {"name": "inner", "path": "/data/logs/", "pvc": "x"},
                {**CLAIM, "read_only": False},
            ],
        },
        "prediction_log.to", "'inner' is read-only", {"prediction_log": {"to": "/data/other"}},
    ),
    "a claim in the place of the model": (
        {**OWN, "prediction_log": {"to": "/mnt/models", "claim": "logs"}, "storage": {"strategy": "server"}},
        "prediction_log.to", "already in use", CLAIMED,
    ),
    "a claim in the place of /tmp": (
        {**OWN, "prediction_log": {"to": "/tmp", "claim": "logs"}}, "prediction_log.to", "already in use", CLAIMED,
    ),
    "a claim in the model": (
        {**OWN, "prediction_log": {"to": "/mnt/models/logs", "claim": "logs"}},
        "prediction_log.to", "/mnt/models is read-only", CLAIMED,
    ),
    "a volume in the place of the claim": (
        {**CLAIMED, "volumes": [{"name": "x", "path": "/logs/", "pvc": "x"}]},
        "volumes[0].path", "already in use", {"volumes": []},
    ),
    "no way to the store": (
        {**SHOP, **STORE}, "network_policy.allow_to", "s3://logs/fraud (prediction_log.to)", OPEN,
    ),
    "no way to what nobody sees": ({**SHOP, **SECRET}, "network_policy.allow_to", "the Secret events", OPEN),
    "no way to a broker outside": (
        {**SHOP, "prediction_log": {"to": "https://events.example.com"}},
        "network_policy.allow_to", "events.example.com", {"prediction_log": {"to": "http://broker.events.svc"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason_and_a_way_out(case: str) -> None:
    refused_with_a_way_out(BASE, REFUSED[case])


# what is said, a word of the note, and what makes it go away
NOTED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "a claim of several pods": (CLAIMED, "ReadWriteMany", {"prediction_log": {"to": "stdout"}}),
    "a folder that ends with the pod": (
        {**OWN, "prediction_log": {"to": "/data"}, "volumes": [{"name": "data", "path": "/data", "empty_dir": "1Gi"}]},
        "lost with its pod", {"volumes": [{**CLAIM, "read_only": False}]},
    ),
    "nobody who may write": (STORE, "no credentials for s3://logs:", {"env_from": ["s3"]}),
    "a variable is enough": (STORE, "no credentials for", {"env": {"AWS_KEY": {"secret": "s3", "key": "key"}}}),
    "an account is enough": (STORE, "no credentials for", {"service_account": {"name": "mine"}}),
    "a Secret that may name a store": (SECRET, "images write to no store", OWN),
    "little time at the end": (
        {"prediction_log": {"to": "http://broker"}, "grace_period": "4s"}, "grace_period of 4s", {"grace_period": "5s"},
    ),
    "Knative's claims": ({**CLAIMED, "mode": "Knative"}, "podspec-persistent-volume-claim", {"mode": "Standard"}),
    "Knative's claims to write": ({**CLAIMED, "mode": "Knative"}, "volume-write", {"prediction_log": {"to": "stdout"}}),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTED)
def test_what_has_to_be_known_is_said(case: str) -> None:
    noted_until_changed(BASE, NOTED[case])


def test_a_log_on_stdout_has_nothing_to_be_told() -> None:
    spec = {**BASE, "prediction_log": {"to": "stdout"}, "grace_period": "1s"}
    assert notes_of(planned(ServeSpec.model_validate(spec))) == notes_of(planned(ServeSpec.model_validate(BASE)))
