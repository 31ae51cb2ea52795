"""Features of a real Feast repository in requests of every protocol."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import cloudpickle
import grpc
import mlflow
import pandas as pd
import pytest
from feast import FeatureStore
from kserve import InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException

from predictors.features import declare
from predictors.features.demo import SERVICE, build
from predictors.features.open_features import open_features
from predictors.model.loaded import LoadError
from predictors.pipeline.outcome import request_error
from predictors.pipeline.settings import Settings
from predictors.pyfunc import PyFuncModel
from tests.predictors.features.feast import FeatureServer
from tests.predictors.parity import unpacked
from tests.serving import Running, in_thread, process, wait_for

COLUMNS = {"distance": "double", "rating": "double", "trips": "long", "orders": "long", "city": "string"}
ADA = {"driver_id": 1001, "customer_id": "ada", "distance": 4.5}
GRACE = {"driver_id": 1002, "customer_id": "grace", "distance": 12.0}


class Echo(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow ships no types
    """Answers its own input as JSON, so that a test sees exactly what the model saw."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> list[str]:
        return [row.to_json() for _, row in model_input.iterrows()]


# Its class goes along: a process that loads it need not import this file, and Feast with it.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def saved(folder: Path, columns: dict[str, str] = COLUMNS, *, required: bool = True, **declared: Any) -> Path:
    """A model that declares the demo's feature service."""
    declared = {"feature_service": SERVICE, "entities": ["driver_id", "customer_id"]} | declared
    mlflow.pyfunc.save_model(
        folder,
        python_model=Echo(),
        pip_requirements=["mlflow"],
        signature=ModelSignature(
            Schema([ColSpec(type, name, required=required) for name, type in columns.items()]),
            Schema([ColSpec("string")]),
        ),
        metadata=declare(**{name: value for name, value in declared.items() if value is not None}),
    )
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Running]:
    with in_thread(saved(tmp_path_factory.mktemp("model") / "m"), feast_repo_path=str(repository)) as running:
        yield running


def seen(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    rows = body["predictions"] if "predictions" in body else body["outputs"][0]["data"]
    return [json.loads(row) for row in rows]


def tensors(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {int: "INT64", float: "FP64", str: "BYTES"}
    return [
        {"name": name, "shape": [len(rows)], "datatype": kinds[type(value)], "data": [row[name] for row in rows]}
        for name, value in rows[0].items()
    ]


EXPECTED = [
    {"distance": 4.5, "rating": 4.75, "trips": 12, "orders": 3, "city": "Köln"},
    {"distance": 12.0, "rating": 4.5, "trips": 7, "orders": 41, "city": "Lyon"},
]


def over_grpc(server: Running) -> list[dict[str, Any]]:
    request = pb.ModelInferRequest(model_name=server.name)
    for each in tensors(ADA, GRACE):
        data = [one.encode() for one in each["data"]] if each["datatype"] == "BYTES" else each["data"]
        kind = {"INT64": "int64_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"}[each["datatype"]]
        tensor = request.inputs.add(name=each["name"], shape=each["shape"], datatype=each["datatype"])
        getattr(tensor.contents, kind).extend(data)
    with grpc.insecure_channel(server.grpc) as channel:
        answered = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    output = answered.outputs[0]
    rows = output.contents.bytes_contents or unpacked(answered.raw_output_contents[0], "BYTES")
    return [json.loads(row) for row in rows]


WAYS: dict[str, Callable[[Running], list[dict[str, Any]]]] = {
    "v1": lambda server: seen(server.predict({"instances": [ADA, GRACE]})),
    "v2": lambda server: seen(server.infer({"inputs": tensors(ADA, GRACE)})),
    "grpc": over_grpc,
    "records": lambda server: seen(server.post("/invocations", {"dataframe_records": [ADA, GRACE]})),
    "split": lambda server: seen(
        server.post(
            "/invocations",
            {"dataframe_split": {"columns": list(ADA), "data": [list(ADA.values()), list(GRACE.values())]}},
        )
    ),
    "inputs": lambda server: seen(
        server.post("/invocations", {"inputs": {name: [ADA[name], GRACE[name]] for name in ADA}})
    ),
    "csv": lambda server: seen(
        server.post(
            "/invocations", content=pd.DataFrame([ADA, GRACE]).to_csv(index=False), headers={"content-type": "text/csv"}
        )
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_rows_in_every_protocol(server: Running, way: str) -> None:
    rows = WAYS[way](server)
    assert rows == EXPECTED
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2  # in the order of the signature


def test_what_the_caller_sends_wins(server: Running) -> None:
    rows = [ADA | {"rating": 1.0, "driver_stats__city": "Bonn"}, GRACE | {"rating": None}]
    assert seen(server.predict({"instances": rows})) == [
        EXPECTED[0] | {"rating": 1.0, "city": "Bonn"},
        EXPECTED[1] | {"rating": None},
    ]


def test_nobody_is_asked_where_everything_is_sent(server: Running) -> None:
    before = lookups(server)
    assert seen(server.predict({"instances": EXPECTED})) == EXPECTED
    assert seen(server.predict({"instances": [list(EXPECTED[0].values())]})) == EXPECTED[:1]
    assert lookups(server) == before


def lookups(server: Running) -> float:
    return metric(server, "model_feature_lookup_seconds_count")


def metric(server: Running, name: str, **labels: str) -> float:
    wanted = {"model_name": server.name, **labels}
    families = text_string_to_metric_families(server.get("/metrics").text)
    return sum(one.value for each in families for one in each.samples if (one.name, one.labels) == (name, wanted))


def ratings(server: Running, result: str) -> float:
    return metric(server, "model_feature_values_total", feature="rating", result=result)


def test_a_large_request_is_one_lookup(server: Running) -> None:
    """Each entity once, however often it comes, and in whichever thread."""
    rows = [ADA | {"distance": float(number)} if number % 2 else GRACE for number in range(3000)]
    before, ratings_before = lookups(server), ratings(server, "found")
    answered = seen(server.predict({"instances": rows}))
    assert [row["distance"] for row in answered] == [row["distance"] for row in rows]
    assert {(row["rating"], row["orders"]) for row in answered} == {(4.75, 3), (4.5, 41)}
    assert (lookups(server), ratings(server, "found")) == (before + 1, ratings_before + 2)


@pytest.mark.parametrize(
    ("row", "status", "message"),
    [
        (ADA | {"driver_id": 7}, 424, "feature 'driver_stats__rating' has no value for driver_id=7 (row 1)"),
        (ADA | {"driver_id": 1003}, 424, "feature 'driver_stats__rating' is null for driver_id=1003 (row 1)"),
        (ADA | {"customer_id": "eve"}, 424, "'customer_stats__orders' has no value for customer_id='eve' (row 1)"),
        ({"distance": 1.0, "customer_id": "ada"}, 400, "row 1: missing input 'driver_id', the key for looking up 'rating', 'trips', 'city'"),
        (ADA | {"driver_id": "x"}, 400, "input 'driver_id', row 1: expected the key of an entity (INT64 in Feast), got a string"),
        (ADA | {"rider": 1}, 400, "unknown input 'rider'"),
    ],
    ids=["unknown", "null", "other entity", "no key", "wrong key", "stray column"],
)  # fmt: skip
def test_what_is_not_there_is_named(server: Running, row: dict[str, Any], status: int, message: str) -> None:
    answered = server.predict({"instances": [ADA, row]})
    assert (answered.status_code, message in answered.json()["error"]) == (status, True), answered.text


def test_what_is_not_there_in_the_words_of_each_protocol(server: Running) -> None:
    unknown = ADA | {"driver_id": 7}
    assert server.infer({"inputs": tensors(unknown)}).status_code == 424
    body = server.post("/invocations", {"dataframe_records": [unknown]})
    assert (body.status_code, body.json()["error_code"]) == (424, "RESOURCE_DOES_NOT_EXIST")


def test_what_the_model_does_not_take_is_ignored_visibly_at_invocations(server: Running) -> None:
    """Keys, and other names of features, are no columns of the model, and are not ignored."""
    row = ADA | {"driver_stats__trips": 9, "rider": 1}
    split = {"columns": [*row], "data": [[*row.values()]]}
    csv = f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"
    expected = seen(server.predict({"instances": [ADA | {"trips": 9}]}))
    for body in (
        {"dataframe_records": [row]},
        {"dataframe_split": split},
        {"inputs": [row]},
        {"instances": [row]},
        csv,
    ):
        kind, content = ("text/csv", csv) if body is csv else ("application/json", json.dumps(body))
        response = server.post("/invocations", content=content, headers={"Content-Type": kind})
        assert (response.status_code, response.headers.get("x-ignored")) == (200, "column=rider"), response.text
        assert seen(response) == expected


def test_schema_says_what_need_not_be_sent(server: Running) -> None:
    schema = server.get("/schema").json()
    assert schema["features"] == {
        "source": f"feature service '{SERVICE}'",
        "entities": {"driver_id": "INT64", "customer_id": "STRING"},
        "columns": {
            "rating": "driver_stats__rating", "trips": "driver_stats__trips", "city": "driver_stats__city",
            "orders": "customer_stats__orders",
        },
    }  # fmt: skip
    item = schema["json_schema"]["properties"]["instances"]["anyOf"][0]["items"]
    assert item["required"] == ["distance"]
    assert {"driver_id", "customer_id", "rating"} <= item["properties"].keys()
    assert server.get("/openapi.json").status_code == 200


@pytest.mark.parametrize(
    ("declared", "rating"),
    [
        ({"missing": "null"}, None),
        ({"missing": "default", "defaults": {"rating": 3.0}}, 3.0),
    ],
    ids=["null", "default"],
)
def test_policies(tmp_path: Path, repository: Path, declared: dict[str, Any], rating: float | None) -> None:
    model = saved(tmp_path / "m", {"distance": "double", "rating": "double"}, **declared)
    with in_thread(model, feast_repo_path=str(repository), model_name=f"policy-{rating}") as server:
        rows = [{"distance": 1.0, "driver_id": 7}, {"distance": 1.0, "driver_id": 1001}]
        assert [row["rating"] for row in seen(server.predict({"instances": rows}))] == [rating, 4.75]
        assert ratings(server, "missing") == 1


def test_features_older_than_allowed(tmp_path: Path, repository: Path) -> None:
    model = saved(tmp_path / "m", {"rating": "double"}, max_age=600)
    with in_thread(model, feast_repo_path=str(repository)) as server:
        answered = server.predict({"instances": [{"driver_id": 1001}]})
        assert answered.status_code == 424
        assert "feature 'driver_stats__rating' is too old for driver_id=1001 (row 0)" in answered.text
    with in_thread(model, feast_repo_path=str(repository), feast_stale="serve") as server:
        assert seen(server.predict({"instances": [{"driver_id": 1001}]})) == [{"rating": 4.75}]


def test_full_names_and_entities_in_the_signature(tmp_path: Path, repository: Path) -> None:
    model = saved(tmp_path / "m", {"driver_id": "long", "driver_stats__rating": "double", "driver_stats:trips": "long"})
    with in_thread(model, feast_repo_path=str(repository)) as server:
        assert seen(server.predict({"instances": [{"driver_id": 1001}]})) == [
            {"driver_id": 1001, "driver_stats__rating": 4.75, "driver_stats:trips": 12}
        ]


def test_every_type_that_feast_has(tmp_path: Path, repository: Path) -> None:
    columns = {"active": "boolean", "last_trip": "datetime", "expected_fare": "double"}
    with in_thread(saved(tmp_path / "m", columns), feast_repo_path=str(repository)) as server:
        (row,) = seen(server.predict({"instances": [{"driver_id": 1001, "distance": 4.5}]}))
        assert (row["active"], row["expected_fare"]) == (True, 4.5 * 4.75 / 2)
        assert isinstance(row["last_trip"], int)  # pandas writes times so
        missing = server.predict({"instances": [{"driver_id": 1001}]})
        assert (missing.status_code, "missing input 'distance'" in missing.text) == (400, True)


def test_a_time_through_feasts_own_server(tmp_path: Path, feature_server: FeatureServer, hour_ago: float) -> None:
    with in_thread(saved(tmp_path / "m", {"last_trip": "datetime"}), feast_server_url=feature_server.url) as server:
        assert seen(server.predict({"instances": [{"driver_id": 1001}]})) == [{"last_trip": hour_ago * 1000}]


def test_text_in_csv_under_its_full_name(tmp_path: Path, repository: Path) -> None:
    """What looks like a number or like nothing stays text, whichever name it has."""
    with in_thread(saved(tmp_path / "m", {"city": "string"}), feast_repo_path=str(repository)) as server:
        content = b"driver_stats__city\nNA\n007\n"
        answered = server.post("/invocations", content=content, headers={"content-type": "text/csv"})
        assert seen(answered) == [{"city": "NA"}, {"city": "007"}]


def test_integers_that_a_double_cannot_hold(tmp_path: Path, now: datetime) -> None:
    folder = build(tmp_path / "repository", now=now)
    row = {"customer_id": ["ada", "big"], "orders": [3, 2**53 + 1], "spend": [1.0, 1.0], "event_timestamp": [now] * 2}
    FeatureStore(repo_path=str(folder)).write_to_online_store("customer_stats", pd.DataFrame(row))
    with in_thread(saved(tmp_path / "m", {"orders": "double"}), feast_repo_path=str(folder)) as server:
        assert seen(server.predict({"instances": [{"customer_id": "ada"}]})) == [{"orders": 3}]
        answered = server.predict({"instances": [{"customer_id": "big"}]})
        assert answered.status_code == 424
        assert "'customer_stats__orders' does not fit the signature: expected a number (double)" in answered.text


def test_features_by_settings_alone(tmp_path: Path, repository: Path) -> None:
    env = {
        "FEAST_REPO_PATH": str(repository),
        "FEAST_FEATURES": "driver_stats:rating",
        "FEAST_ENTITIES": "driver_id=driver",
    }
    model = tmp_path / "m"
    mlflow.pyfunc.save_model(
        model, python_model=Echo(), pip_requirements=["mlflow"],
        signature=ModelSignature(Schema([ColSpec("double", "rating")]), Schema([ColSpec("string")])),
    )  # fmt: skip
    with process(tmp_path, "--model-dir", str(model), "--workers=2", env=env) as started:
        assert seen(started.running.predict({"instances": [{"driver": 1002}]})) == [{"rating": 4.5}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "FEAST_REPO_PATH or FEAST_SERVER_URL"), ({"feast_repo_path": "/nowhere"}, "/nowhere")],
    ids=["undeclared", "folder"],
)
def test_what_cannot_be_served_ends_the_start_with_one_line(
    tmp_path: Path, settings: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AssertionError, match=r"the server ended: \[1\]"), in_thread(saved(tmp_path / "m"), **settings):
        pass
    (error,) = [one for one in caplog.records if one.levelname == "ERROR" and one.name == "predictors"]
    assert message in error.message
    assert ("\n" in error.message, error.exc_info) == (False, None)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"feature_service": "other"}, "other"),
        ({"missing": "null"}, "'trips' cannot be null"),
        ({"entities": ["rider"]}, "no join key 'rider'"),
    ],
    ids=["service", "null", "entity"],
)
def test_what_does_not_fit_the_repository(
    tmp_path: Path, repository: Path, declared: dict[str, Any], message: str
) -> None:
    settings = Settings(feast_repo_path=str(repository))
    model = PyFuncModel("m", str(saved(tmp_path / "m", **declared)), settings=settings)
    model.load()
    with pytest.raises(LoadError, match=message):
        asyncio.run(model.open_features())


def test_without_features_if_somebody_says_so(tmp_path: Path) -> None:
    with in_thread(saved(tmp_path / "m"), feast=False) as server:
        assert seen(server.predict({"instances": EXPECTED})) == EXPECTED
        assert server.predict({"instances": [ADA]}).status_code == 400


class Doubled(PyFuncModel):
    async def preprocess(self, payload: Any, headers: Any = None) -> Any:
        return payload


def test_features_through_hooks_and_stock_types(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subclass of somebody's own asks for features as well, also where KServe's own server calls it."""
    model = Doubled("m", str(saved(tmp_path / "m")), settings=Settings(feast_repo_path=str(repository)))
    model.load()

    async def ask() -> tuple[Any, Any]:
        request = InferRequest("m", [InferInput("driver_id", [1], "INT64", [1001]), InferInput("customer_id", [1], "BYTES", ["ada"]), InferInput("distance", [1], "FP64", [4.5])])  # fmt: skip
        return (await model({"instances": [ADA]}))[0], (await model(request))[0]

    v1, v2 = asyncio.run(ask())
    assert [json.loads(row) for row in v1["predictions"]] == EXPECTED[:1]
    assert [json.loads(row) for row in v2.outputs[0].as_numpy()] == EXPECTED[:1]


def test_first_requests_of_kserves_own_server(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feast is opened once for all who come at once, and anew for a model that was loaded anew."""
    opened = []

    async def counting(*arguments: Any) -> Any:
        opened.append(await open_features(*arguments))
        return opened[-1]

    monkeypatch.setattr("predictors.model.base.open_features", counting)
    folder = saved(tmp_path / "m", {"rating": "double"})
    model = PyFuncModel("m", str(folder), settings=Settings(feast_repo_path=str(repository)))

    async def ask() -> None:
        model.load()
        answers = await asyncio.gather(*(model({"instances": [{"driver_id": 1001}]}) for _ in range(5)))
        assert [json.loads(one["predictions"][0]) for one, _ in answers] == [{"rating": 4.75}] * 5
        assert len(opened) == 1
        message = "feature 'driver_stats__rating' has no value for driver_id=7"
        with pytest.raises(HTTPException, match=f"424: {message}") as raised:
            await model({"instances": [{"driver_id": 7}]})
        of_ours = request_error(raised.value)  # the same behind hooks in our own server
        assert (of_ours.status, of_ours.kind) == (424, "feature_missing")
        shutil.rmtree(folder)
        saved(folder, {"rating": "double"}, missing="null")
        model.load()
        answer, _ = await model({"instances": [{"driver_id": 7}]})
        assert json.loads(answer["predictions"][0]) == {"rating": None}

    asyncio.run(ask())


def test_features_through_feasts_own_server(tmp_path: Path, feature_server: FeatureServer) -> None:
    """The same numbers; and what becomes of requests while it is away, without and with something to go on with."""
    model = saved(tmp_path / "m", {"distance": "double", "rating": "double", "orders": "long"})
    row = {name: EXPECTED[0][name] for name in ("distance", "rating", "orders")}
    with in_thread(model, feast_server_url=feature_server.url, model_name="remote") as server:
        assert WAYS["v2"](server) == [{name: one[name] for name in row} for one in EXPECTED]
        unknown = server.predict({"instances": [ADA | {"driver_id": 7}]})
        assert (unknown.status_code, "'driver_stats__rating' has no value for driver_id=7" in unknown.text) == (
            424,
            True,
        )
        feature_server.end()
        try:
            answered = server.predict({"instances": [ADA]})
            assert (answered.status_code, answered.headers["retry-after"]) == (503, "1")
            assert answered.json() == {"error": "the features cannot be looked up now: Feast cannot be reached"}
            assert metric(server, "model_feature_lookups_failed_total", reason="unreachable") == 1
            assert server.get("/v2/health/ready").status_code == 200
            assert seen(server.predict({"instances": [row]})) == [row]
        finally:
            feature_server.start()
        wait_for(lambda: server.predict({"instances": [ADA]}).status_code == 200)
    with in_thread(
        model, feast_server_url=feature_server.url, model_name="patient", feast_unavailable="default", feast_timeout=0.2,
        feast_defaults={"rating": 4.0, "orders": 0},
    ) as server:  # fmt: skip
        assert seen(server.predict({"instances": [ADA]})) == [row]
        feature_server.send(signal.SIGSTOP)
        try:
            for _ in range(6):
                assert seen(server.predict({"instances": [ADA]})) == [row | {"rating": 4.0, "orders": 0}]
            assert metric(server, "model_feature_lookups_failed_total", reason="timeout") == 5
            assert metric(server, "model_feature_lookups_failed_total", reason="circuit_open") == 1
            assert metric(server, "model_feature_circuit_open") == 1
        finally:
            feature_server.send(signal.SIGCONT)


def test_what_was_looked_up_is_kept_for_a_while(tmp_path: Path, repository: Path) -> None:
    settings: dict[str, Any] = {"feast_repo_path": str(repository), "feast_cache_ttl": 600.0, "model_name": "kept"}
    with in_thread(saved(tmp_path / "m", {"rating": "double"}), **settings) as server:
        for _ in range(3):
            assert [row["rating"] for row in seen(server.predict({"instances": [ADA, GRACE]}))] == [4.75, 4.5]
        assert metric(server, "model_feature_cache_total", result="miss") == 2
        assert metric(server, "model_feature_cache_total", result="hit") == 4


def test_a_version_that_looks_less_up_is_not_taken(tmp_path: Path, repository: Path) -> None:
    """Callers that send keys alone would be refused."""
    model = saved(tmp_path / "m", {"rating": "double"})
    with in_thread(model, feast_repo_path=str(repository), model_name="next") as server:
        shutil.rmtree(model)
        mlflow.pyfunc.save_model(
            model, python_model=Echo(), pip_requirements=["mlflow"],
            signature=ModelSignature(Schema([ColSpec("double", "rating")]), Schema([ColSpec("string")])),
        )  # fmt: skip
        answered = server.post("/v2/repository/models/next/load")
        assert answered.status_code == 409, answered.text
        assert "it does not look up 'rating', which today's requests leave out" in answered.text
        assert seen(server.predict({"instances": [{"driver_id": 1001}]})) == [{"rating": 4.75}]


def test_a_version_that_looks_more_up_is_taken(tmp_path: Path, repository: Path) -> None:
    """Callers need not know; but what they would have to send is not taken."""
    model = saved(tmp_path / "m", {"rating": "double"})
    with in_thread(model, feast_repo_path=str(repository), model_name="more") as server:
        shutil.rmtree(model)
        saved(model, {"rating": "double", "trips": "long", "distance": "double"})
        refused = server.post("/v2/repository/models/more/load")
        assert (refused.status_code, "it requires 'distance', which today's requests" in refused.text) == (409, True)
        shutil.rmtree(model)
        saved(model, {"rating": "double", "trips": "long"})
        assert server.post("/v2/repository/models/more/load").status_code == 200
        assert seen(server.predict({"instances": [{"driver_id": 1001}]})) == [{"rating": 4.75, "trips": 12}]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"entities": {"driver_id": "driver", "customer_id": "customer_id"}}, "it looks features up by 'driver', which today's"),
        ({"feature_service": None, "features": ["driver_stats:rating"], "entities": ["driver_id"]},
         "it does not accept 'customer_id', which today's requests send as keys"),
    ],
    ids=["renamed", "fewer"],
)  # fmt: skip
def test_a_version_that_looks_up_by_other_keys_is_not_taken(
    tmp_path: Path, repository: Path, declared: dict[str, Any], message: str
) -> None:
    """And it leaves nothing open behind it."""
    columns = {"rating": "double", "orders": "long"}
    model = saved(tmp_path / "m", columns, required=False)
    with in_thread(model, feast_repo_path=str(repository), model_name="keys") as server:
        shutil.rmtree(model)
        saved(model, columns, required=False, **declared)
        before = readers()
        answered = server.post("/v2/repository/models/keys/load")
        assert answered.status_code == 409, answered.text
        assert message in answered.text
        wait_for(lambda: readers() == before)
        assert seen(server.predict({"instances": [{"driver_id": 1001, "customer_id": "ada"}]})) == [
            {"rating": 4.75, "orders": 3}
        ]


def readers() -> int:
    """Threads that read a registry."""
    return sum(one.name.startswith("feast-registry") for one in threading.enumerate())
