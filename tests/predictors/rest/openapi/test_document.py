"""/openapi.json: it lists what there is, refuses what the server refuses, and describes what the server answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from predictors.rest.operations import Operations
from predictors.rest.pages import strict
from predictors.rest.predictions import Predictions
from predictors.signature.example import shape_of
from tests.compat.echo import save_echo
from tests.compat.test_invocations import MODELS
from tests.serving import Running, in_thread

PREDICT, INFER, INVOCATIONS = "/v1/models/model:predict", "/v2/models/model/infer", "/invocations"
NOT_SAID = re.compile(
    "|".join((
        "does not agree with data", "different lengths", "larger than any tensor", "is ragged", "rows of different",
        "got a tensor of shape", "expected shape", "is given twice", "has 1 axes",  # sizes that depend on others
        "missing required", "row \\d+: expected \\d+ values", "'dataframe_split.data', row",  # names and rows of a table
        "'dataframe_split.(index|columns)'", "expected an object like row 0", "is asked for twice",
        "number out of its range",  # in a text
        "unknown output", "text that is not JSON", "got text that is not an ISO 8601", "date out of range",  # 30 February
    ))
)  # fmt: skip
"""Refusals of what depends on another part of the request, which OpenAPI 3.0 cannot say."""


def test_every_route_is_listed(demo: Running) -> None:
    predictions, operations = object.__new__(Predictions), object.__new__(Operations)
    routes = [*Predictions.routes(predictions), *Operations.routes(operations)]
    served = {(one.verb.lower(), one.path.format(model="model", version="1", asset="{asset}")) for one in routes}
    paths = demo.get("/openapi.json").json()["paths"]
    assert {(verb, path) for path, verbs in paths.items() for verb in verbs} == served


@pytest.mark.slow
def test_schemathesis(demo: Running, tmp_path: Path) -> None:
    """Nothing that it makes up gets 5xx, a status or a content type that is not in the document, or 200 if it is wrong.

    It cannot know of what depends on another part of the request, so what it thinks right may be refused. Reloading and
    explaining are left out: the one takes seconds, the other is not supported by this model."""
    for flags in (
        (
            "--phases",
            "coverage,fuzzing",
            "--exclude-path-regex",
            "load$|explain$|/v2/models/model/(infer|versions/1/infer)",
        ),
        ("--phases", "fuzzing", "--include-path", INFER),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{demo.url}/openapi.json", "--max-examples", "15",
             "--generation-deterministic", "--exclude-checks", "positive_data_acceptance", "--no-color", *flags],
            capture_output=True, text=True, cwd=tmp_path, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A model that answers whatever it is handed, so that each refusal is the server's own."""
    folder = tmp_path_factory.mktemp("echo") / "model"
    save_echo(folder, *MODELS[request.param])
    with in_thread(folder) as running:
        yield running


MIXED = ("table", "nested")
KINDS = ("table", "nested", "tensors", "unsigned")


@pytest.mark.parametrize("path", [PREDICT, INFER, INVOCATIONS])
@pytest.mark.parametrize("server", KINDS, indirect=True)
def test_the_schema_is_as_strict_as_the_server(server: Running, path: str, request: pytest.FixtureRequest) -> None:
    mixed = request.node.callspec.params["server"] in MIXED
    document = server.get("/openapi.json").json()
    schema = body_schema(document, path)
    validator = jsonschema.Draft202012Validator(strict(schema))
    accepted: list[bool] = []

    def send(case: Any) -> None:
        raw = isinstance(case.body, bytes)
        if path == INFER and not raw and validator.is_valid(case.body):
            for tensor in case.body["inputs"]:
                tensor["shape"] = shape_of(tensor["data"])
        body = {"content": case.body, "headers": {"Content-Type": "application/json"}} if raw else {"json": case.body}
        response = server.client.post(path, **body)
        accepted.append(response.status_code == 200)
        if accepted[-1]:
            assert not raw, case.body
            assert validator.is_valid(case.body), case.body
            return
        assert response.status_code in (400, 415), response.text
        right = not raw and validator.is_valid(case.body)
        if right and not (mixed and has_places(case.body)):
            assert NOT_SAID.search(response.text), (case.body, response.text)

    for is_right in (True, False):
        made_up(document, path, 15, send, right=is_right)
    assert any(accepted) or path == INFER  # tensors that are made up seldom have as many rows as each other


def made_up(document: dict[str, Any], path: str, count: int, send: Callable[[Any], None], *, right: bool) -> None:
    """Bodies that schemathesis makes up, always the same."""
    import schemathesis

    only_json = json.loads(json.dumps(document))
    operation = only_json["paths"][path]["post"]
    operation["requestBody"]["content"] = {"application/json": operation["requestBody"]["content"]["application/json"]}
    operation.pop("parameters", None)
    mode = schemathesis.GenerationMode.POSITIVE if right else schemathesis.GenerationMode.NEGATIVE
    strategy = schemathesis.openapi.from_dict(only_json)[path]["POST"].as_strategy(generation_mode=mode)

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(strategy)
    def run(case: Any) -> None:
        send(case)

    run()


def body_schema(document: dict[str, Any], path: str) -> dict[str, Any]:
    reference = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema: dict[str, Any] = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return schema


def has_places(body: Any) -> bool:
    """Whether the body has rows without names. OpenAPI 3.0 cannot say which type stands in which place of a row."""
    parts = [body[key] for key in ("instances", "inputs", "dataframe_split") if key in body]
    rows = [part.get("data") if isinstance(part, dict) else part for part in parts]
    return any(isinstance(part, list) and isinstance(part[0], list) for part in rows)
