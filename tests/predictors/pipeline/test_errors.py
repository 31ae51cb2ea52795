"""Every mistake of a caller: status, shape, words, and a connection that goes on."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.serving import Running

SECRET = "s3cret-value"
GOOD = {"instances": [[64.2, 0.21, 3, 0.4]]}
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}
V1, V2, INVOCATIONS = "/v1/models/model:predict", "/v2/models/model/infer", "/invocations"


class RawWire:
    """One kept-alive connection."""

    def __init__(self, server: Running) -> None:
        self.connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
        self.connection.connect()
        self.socket = self.connection.sock

    def ask(
        self, verb: str, path: str, body: Any = None, headers: Any = JSON, **options: Any
    ) -> tuple[int, bytes, Any]:
        self.connection.request(verb, path, body, headers, **options)
        response = self.connection.getresponse()
        return response.status, response.read(), response.headers

    def goes_on(self) -> None:
        """The very same socket still answers a good request."""
        status, body, _ = self.ask("POST", V1, json.dumps(GOOD))
        assert (status, json.loads(body)["predictions"]) == (200, [0])
        assert self.connection.sock is self.socket


@pytest.fixture
def wire(demo: Running) -> Iterator[RawWire]:
    raw = RawWire(demo)
    yield raw
    raw.connection.close()


def tensor(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]} | changes]}


def columns(**values: Any) -> dict[str, Any]:
    return {"temperature": 1.0, "vibration": 1.0, "months_since_service": 1, "load": 1.0} | values


V1_MISTAKES: list[tuple[str, Any, str]] = [
    ("malformed JSON", b'{"instances": [', "not valid JSON"),
    ("empty body", b"", "empty"),
    ("no object", [1], "must be a JSON object"),
    ("NaN token", b'{"instances": [[NaN, 1, 1, 1]]}', "send null"),
    ("missing key", {}, "missing 'instances'"),
    ("wrong key", {"instance": [[1, 2, 3, 4]]}, "did you mean 'instances'"),
    ("one key too many", {**GOOD, "extra": SECRET}, "unknown key 'extra'"),
    ("both keys", {**GOOD, "inputs": {}}, "exclude each other"),
    ("not a list", {"instances": SECRET}, "must be a list"),
    ("no rows", {"instances": []}, "empty"),
    ("ragged rows", {"instances": [[1, 2, 3, 4], [1, 2]]}, "row 1: expected 4 values, got 2"),
    ("wrong column count", {"instances": [[1, 2, 3, 4, 5]]}, "row 0: expected 4 values, got 5"),
    ("unknown column", {"instances": [columns(tempo=1)]}, "unknown input 'tempo'"),
    ("misspelt column", {"instances": [{"temperatur": 1.0, "vibration": 1, "months_since_service": 1, "load": 1}]},
     "did you mean 'temperature'"),
    ("missing column", {"instances": [{"temperature": 1.0, "vibration": 1, "load": 1}]},
     "missing required input 'months_since_service'"),
    ("column missing in one row", {"instances": [columns(), {"temperature": 1.0, "vibration": 1.0, "load": 1.0}]},
     "missing required input 'months_since_service'"),
    ("string in a number", {"instances": [columns(load=SECRET)]}, "input 'load', row 0: expected a number (double), got a string"),
    ("boolean in a number", {"instances": [[True, 2, 3, 4]]}, "input 'temperature', row 0: expected a number (double)"),
    ("list in a number", {"instances": [[[1], 2, 3, 4]]}, "input 'temperature', row 0: expected a number (double), got a list"),
    ("null in a non-nullable", {"instances": [columns(months_since_service=None)]},
     "input 'months_since_service', row 0: expected an integer of 64 bits (long), got null"),
    ("fraction in an integer", {"instances": [[1, 2, 3.5, 4]]}, "input 'months_since_service', row 0: expected an integer"),
    ("out-of-range integer", {"instances": [[1, 2, 2**63, 4]]}, "out of its range"),
    ("null that the model does not take", {"instances": [[None, 2, 3, 4]]}, "null or NaN"),
    ("row that is no list", {"instances": [[1, 2, 3, 4], SECRET]}, "row 1: expected a list of 4 values, got a string"),
    ("scalars for several columns", {"instances": [1, 2]}, "row 0: expected a list of 4 values, got an integer"),
    ("columns of different lengths", {"inputs": {name: [1] for name in columns()} | {"load": [1, 2]}}, "different lengths"),
    ("column that is no list", {"inputs": {**columns(), "load": SECRET}}, "expected a list with a value per row"),
    ("unknown method", {**GOOD, "parameters": {"method": "predict_prob"}}, "the model has decision_function, predict"),
    ("unknown parameter", {**GOOD, "parameters": {"temperature": SECRET}}, "unknown parameter 'temperature'"),
    ("parameters of a wrong type", {**GOOD, "parameters": [SECRET]}, "'parameters' must be an object"),
    ("flag of a wrong type", {**GOOD, "parameters": {"probabilities": SECRET}}, "must be true or false"),
    ("nested beyond reason", b'{"instances": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "not valid JSON"),
    ("not UTF-8", b'{"instances": "\xff"}', "not valid JSON"),
]  # fmt: skip

V2_MISTAKES: list[tuple[str, Any, str]] = [
    ("malformed JSON", b"{", "not valid JSON"),
    ("missing inputs", {"id": "1"}, "'inputs' must be a list"),
    ("unknown datatype", tensor(datatype="FP99"), "input 'x': unknown datatype"),
    ("shape that disagrees", tensor(shape=[2, 4]), "shape [2, 4] does not agree"),
    ("negative shape", tensor(shape=[-1, 4]), "non-negative"),
    ("string in a number", tensor(data=[1, 2, 3, SECRET]), "input 'x', row 3: expected FP64 values, got a string"),
    ("null in an integer", tensor(datatype="INT64", data=[1, 2, 3, None]), "expected INT64 values, got null"),
    ("out-of-range integer", tensor(datatype="INT8", data=[1, 2, 3, 300]), "out of its range"),
    ("ragged data", tensor(data=[[1, 2], [3]]), "ragged"),
    ("a row and a number", tensor(shape=[2, 1], data=[[1], 0]), "ragged"),
    ("wrong column count", tensor(shape=[2, 2]), "4 columns"),
    ("unknown column", {"inputs": [tensor()["inputs"][0], tensor(name="y")["inputs"][0]]}, "unknown inputs 'x', 'y'"),
    ("input given twice", {"inputs": tensor()["inputs"] * 2}, "input 'x' is given twice"),
    ("unknown output", {**tensor(), "outputs": [{"name": "label"}]}, "unknown output 'label'"),
    ("unknown key", {**tensor(), "output": []}, "unknown key 'output'"),
    ("id of a wrong type", {**tensor(), "id": 7}, "'id' must be a string"),
]

INVOCATION_MISTAKES: list[tuple[str, Any, str]] = [
    ("malformed JSON", b"{", "not valid JSON"),
    ("missing key", {"data": [[1, 2, 3, 4]]}, "exactly one of dataframe_split"),
    ("two forms", {"instances": [[1, 2, 3, 4]], "inputs": []}, "exactly one of"),
    ("no data", {"dataframe_split": {"columns": ["a"]}}, "'dataframe_split' must be an object with 'columns' and 'data'"),
    ("ragged rows", {"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}, "row 0: expected 2 values, got 1"),
    ("records of a wrong type", {"dataframe_records": [SECRET]}, "'dataframe_records' must be a list"),
    ("missing column", {"dataframe_records": [{"temperature": 1}]}, "missing required inputs"),
    ("string in a number", {"dataframe_records": [columns(load=SECRET)]}, "input 'load', row 0: expected a number (double)"),
    ("params of a wrong type", {**GOOD, "params": [SECRET]}, "'params' must be an object"),
]  # fmt: skip

ALL = [
    pytest.param(path, body, message, id=f"{path.split('/')[1]} {name}")
    for path, mistakes in ((V1, V1_MISTAKES), (V2, V2_MISTAKES), (INVOCATIONS, INVOCATION_MISTAKES))
    for name, body, message in mistakes
]


def message_of(path: str, body: bytes) -> str:
    """The error in the shape of the protocol."""
    reply = json.loads(body)
    if path == INVOCATIONS:
        assert set(reply) == {"error_code", "message"}
        return str(reply["message"])
    assert set(reply) == {"error"}
    return str(reply["error"])


@pytest.mark.parametrize(("path", "body", "expected"), ALL)
def test_mistakes_are_named_and_the_connection_goes_on(wire: RawWire, path: str, body: Any, expected: str) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body)
    status, reply, _ = wire.ask("POST", path, sent)
    message = message_of(path, reply)
    assert status == 400, message
    assert expected in message
    assert SECRET not in message
    assert "Traceback" not in message
    assert "<class" not in message
    wire.goes_on()


@pytest.mark.parametrize(
    ("verb", "path", "headers", "status"),
    [
        ("POST", "/v1/models/other:predict", JSON, 404),
        ("POST", "/v2/models/other/infer", JSON, 404),
        ("GET", "/v2/models/other", JSON, 404),
        ("GET", "/v2/models/other/ready", JSON, 404),
        ("POST", "/v2/models/model/versions/99/infer", JSON, 404),
        ("GET", "/v2/models/model/versions/99", JSON, 404),
        ("GET", "/v2/models/model/versions/99/ready", JSON, 404),
        ("GET", "/nowhere", JSON, 404),
        ("GET", V1, JSON, 405),
        ("GET", V2, JSON, 405),
        ("PUT", INVOCATIONS, JSON, 405),
        ("DELETE", "/v2/health/live", JSON, 405),
        ("POST", V1, {"Content-Type": "text/csv"}, 415),
        ("POST", V2, {"Content-Type": "application/octet-stream"}, 415),
        ("POST", INVOCATIONS, {"Content-Type": "image/png"}, 415),
        ("POST", V1, {"Content-Type": "application/json; charset=latin-1"}, 415),
        ("POST", V1, {**JSON, "Content-Encoding": "br"}, 415),
    ],
)
def test_other_refusals(wire: RawWire, verb: str, path: str, headers: dict[str, str], status: int) -> None:
    actual, reply, answered = wire.ask(verb, path, json.dumps(GOOD) if verb != "GET" else None, headers)
    assert actual == status, reply
    assert message_of(INVOCATIONS if path == INVOCATIONS else V1, reply)
    if status == 405:
        assert answered["allow"]
    wire.goes_on()


def test_too_large_a_body(wire: RawWire) -> None:
    for body, options in ((b"x" * 300_000, {}), (iter([b"x" * 50_000] * 6), {"encode_chunked": True})):
        headers = {**JSON, **({"Transfer-Encoding": "chunked"} if options else {})}
        status, reply, _ = wire.ask("POST", V1, body, headers, **options)
        assert status == 413
        assert "larger than 200000 bytes" in message_of(V1, reply)
        wire.goes_on()


def test_a_small_body_that_unpacks_to_a_large_one(wire: RawWire) -> None:
    import gzip

    status, _, _ = wire.ask("POST", V1, gzip.compress(b" " * 5_000_000), {**JSON, "Content-Encoding": "gzip"})
    assert status == 413
    wire.goes_on()


@pytest.mark.parametrize(
    ("body", "encoding"), [(b"no gzip", "gzip"), (b"\x1f\x8b\x08\x00", "gzip"), (b"no zlib", "deflate")]
)
def test_broken_compression(wire: RawWire, body: bytes, encoding: str) -> None:
    status, reply, _ = wire.ask("POST", V1, body, {**JSON, "Content-Encoding": encoding})
    assert status == 400
    assert encoding in message_of(V1, reply)
    wire.goes_on()


def binary_request(size: int, payload: bytes, length: str | None = None) -> tuple[bytes, dict[str, str]]:
    entry = tensor()["inputs"][0] | {"parameters": {"binary_data_size": size}}
    del entry["data"]
    head = json.dumps({"inputs": [entry]}).encode()
    return head + payload, {**BINARY, "Inference-Header-Content-Length": length or str(len(head))}


@pytest.mark.parametrize(
    ("size", "payload", "length", "expected"),
    [
        (32, b"\0" * 20, None, "binary_data_size must be 0 to 20"),
        (20, b"\0" * 20, None, "takes 32 bytes of binary data, got 20"),
        (32, b"\0" * 40, None, "8 bytes of binary data belong to no input"),
        (32, b"\0" * 32, "99999", "Inference-Header-Content-Length"),
        (32, b"\0" * 32, "abc", "Inference-Header-Content-Length"),
        (-1, b"\0" * 32, None, "binary_data_size"),
    ],
)
def test_broken_binary_tensors(wire: RawWire, size: int, payload: bytes, length: str | None, expected: str) -> None:
    body, headers = binary_request(size, payload, length)
    status, reply, _ = wire.ask("POST", V2, body, headers)
    assert status == 400
    assert expected in message_of(V2, reply)
    wire.goes_on()


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"temperature,vibration,months_since_service,load\n", "text/csv", "no rows"),
        (b"", "text/csv", "cannot be read as CSV"),
        (b"temperature,vibration,months_since_service\n1,2,3\n", "text/csv", "missing required input 'load'"),
        (
            f"temperature,vibration,months_since_service,load\n1,2,3,{SECRET}\n".encode(),
            "text/csv",
            "input 'load', row 0",
        ),
        (b"\xff\xfe\xfd", "text/csv", "CSV"),
        (b"PAR1 not really", "application/vnd.apache.parquet", "cannot be read as Parquet"),
    ],
)
def test_broken_tables(wire: RawWire, body: bytes, content_type: str, expected: str) -> None:
    status, reply, _ = wire.ask("POST", INVOCATIONS, body, {"Content-Type": content_type})
    message = message_of(INVOCATIONS, reply)
    assert status == 400
    assert expected in message
    assert SECRET not in message
    wire.goes_on()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"city": 7}, "input 'city', row 0: expected a string, got an integer"),
        ({"member": "yes"}, "input 'member', row 0: expected a boolean, got a string"),
        ({"member": 2}, "input 'member', row 0: expected a boolean"),
        ({"member": None}, "input 'member', row 0: expected a boolean, got null"),
        ({"count": "7"}, "input 'count', row 0: expected an integer of 64 bits (long), got a string"),
    ],
)
def test_types_of_columns(mixed: Running, record: dict[str, Any], expected: str) -> None:
    good = {"amount": 1.0, "count": 1, "member": True, "city": "Ulm"}
    assert mixed.predict({"instances": [good]}).status_code == 200
    response = mixed.predict({"instances": [good | record]})
    assert (response.status_code, expected in response.text) == (400, True), response.text


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"at": SECRET}, "input 'at', row 0: expected an ISO 8601 date and time"),
        ({"at": "now"}, "input 'at', row 0: expected an ISO 8601 date and time"),
        ({"at": 17}, "input 'at', row 0: expected an ISO 8601 date and time"),
        ({"data": "not base64!"}, "input 'data', row 0: expected bytes"),
        ({"maybe": "1.5"}, "input 'maybe', row 0: expected a number (double)"),
    ],
)
def test_types_of_moments(moments: Running, record: dict[str, Any], expected: str) -> None:
    good = {"at": "2024-01-01T00:00:00", "data": "AAE="}
    assert moments.predict({"instances": [good]}).status_code == 200
    response = moments.predict({"instances": [good | record]})
    assert (response.status_code, expected in response.text) == (400, True), response.text
    assert SECRET not in response.text


def test_a_model_that_fails_is_our_fault_and_says_no_more(zoo: Any, tmp_path: Any) -> None:
    from tests.serving import in_thread
    from tests.zoo.case import numbers
    from tests.zoo.python import model, save

    save(tmp_path / "broken", model("raise RuntimeError('secret of the model')"), data=numbers())
    with in_thread(tmp_path / "broken") as server:
        response = server.predict({"instances": [[1, 2, 3, 4]]})
    assert response.status_code == 500
    assert "the model failed on this input (RuntimeError)" in response.text
    assert "secret" not in response.text


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.one_of(
    ANY_JSON,
    st.fixed_dictionaries({"instances": ANY_JSON}, optional={"parameters": ANY_JSON}),
    st.fixed_dictionaries({"inputs": ANY_JSON}, optional={"id": ANY_JSON, "outputs": ANY_JSON}),
    st.fixed_dictionaries({"dataframe_split": ANY_JSON}, optional={"params": ANY_JSON}),
    st.builds(lambda values: {"instances": [values]}, st.lists(ANY_JSON, min_size=4, max_size=4)),
    st.builds(
        lambda **entry: {"inputs": [entry]},
        name=ANY_JSON | st.just("x"), shape=ANY_JSON | st.just([1, 4]),
        datatype=ANY_JSON | st.sampled_from(["FP64", "BYTES", "BOOL", "INT8"]), data=ANY_JSON | st.lists(ANY_JSON, max_size=5),
    ),
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, path=st.sampled_from([V1, V2, INVOCATIONS]))
@example(body={"instances": [{}, None]}, path=V1)
def test_no_body_whatsoever_is_our_fault(demo: Running, body: Any, path: str) -> None:
    response = demo.post(path, content=json.dumps(body).encode(), headers=JSON)
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        assert message_of(path, response.content)
