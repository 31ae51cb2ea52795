"""The cases of test_mlserver.py, sent to a real MLServer beside ours; skipped where its environment is not set up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from tests.compat.beside_mlserver import NAME, mlserver, python
from tests.compat.echo import save_echo
from tests.compat.test_mlserver import COLUMNS
from tests.serving import Running, in_thread

pytestmark = pytest.mark.skipif(python() is None, reason="python -m loadtest.peers --set-up mlserver sets it up")

COMPOSITE = ("list", "texts", "object", "map")
"""MLServer takes these columns as JSON with a content type of its own only; here JSON needs none."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, httpx.Client]]:
    inputs = Schema([ColSpec(kind, name, required=False) for name, (kind, *_) in COLUMNS.items()])
    params = ParamSchema([ParamSpec("t", "double", 1.0), ParamSpec("many", "long", [1], shape=(-1,))])
    folder = tmp_path_factory.mktemp("beside")
    save_echo(folder / "echo", inputs, params, Schema([ColSpec("string")]))
    with in_thread(folder / "echo") as ours, mlserver(folder / "echo", folder / NAME) as theirs:
        yield ours, theirs


def seen(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["outputs"][0]["data"][0])


def column(name: str, shape: list[int], content_type: str | None = None) -> dict[str, Any]:
    _, datatype, data, _ = COLUMNS[name]
    tensor = {"name": name, "shape": shape, "datatype": datatype, "data": data}
    return {**tensor, "parameters": {"content_type": content_type}} if content_type else tensor


@pytest.mark.parametrize("content_type", [None, "pd"], ids=["plain", "pd"])
@pytest.mark.parametrize("shape", [[2], [2, 1]], ids=["N", "N-1"])
@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in (*COMPOSITE, "any", "any number")])
def test_columns_of_values(
    both: tuple[Running, httpx.Client], name: str, shape: list[int], content_type: str | None
) -> None:
    body: dict[str, Any] = {"inputs": [column(name, shape, "base64" if name == "data" else None)]}
    if content_type:
        body["parameters"] = {"content_type": content_type}
    ours, theirs = both
    assert seen(ours.infer(body)) == seen(theirs.post(f"/v2/models/{NAME}/infer", json=body))


@pytest.mark.parametrize("name", [*COMPOSITE, "any"])
def test_columns_of_json(both: tuple[Running, httpx.Client], name: str) -> None:
    """Plain BYTES are text for MLServer, which MLflow then refuses, but for columns of any type; with its content type
    for JSON the two are the same."""
    ours, theirs = both
    plain = theirs.post(f"/v2/models/{NAME}/infer", json={"inputs": [column(name, [2, 1])]})
    assert plain.status_code == (200 if name == "any" else 500)
    body = {"inputs": [column(name, [2, 1], "pd_json")]}
    assert seen(ours.infer(body)) == seen(theirs.post(f"/v2/models/{NAME}/infer", json=body))


def test_params(both: tuple[Running, httpx.Client]) -> None:
    ours, theirs = both
    body = {"parameters": {"t": 0.25, "many": [1, 2]}, "inputs": [column("double", [2, 1])]}
    assert seen(ours.infer(body)) == seen(theirs.post(f"/v2/models/{NAME}/infer", json=body))


def test_several_columns(both: tuple[Running, httpx.Client]) -> None:
    ours, theirs = both
    names = [name for name in COLUMNS if name not in (*COMPOSITE, "any", "any number", "data")]
    body = {"parameters": {"content_type": "pd"}, "inputs": [column(name, [2, 1]) for name in names]}
    assert seen(ours.infer(body)) == seen(theirs.post(f"/v2/models/{NAME}/infer", json=body))
