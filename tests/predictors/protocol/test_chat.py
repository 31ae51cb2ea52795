"""Chat models and agents: their own bare requests and replies, as with MLflow's server."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.serving import Running, in_thread
from tests.zoo.case import PIP

CHAT = """
import mlflow
from mlflow.types.llm import ChatChoice, ChatCompletionResponse, ChatMessage

class Model(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        answer = ChatMessage(role="assistant", content=messages[-1].content.upper())
        return ChatCompletionResponse(choices=[ChatChoice(index=0, message=answer)], model="m", created=1)

mlflow.models.set_model(Model())
"""
AGENT = """
import mlflow
from mlflow.types.responses import ResponsesAgentResponse

class Model(mlflow.pyfunc.ResponsesAgent):
    def predict(self, request):
        text = str(request.input[-1].content).upper()
        return ResponsesAgentResponse(output=[self.create_text_output_item(text=text, id="1")])

mlflow.models.set_model(Model())
"""
ASKED = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module", params=[("chat", CHAT, "messages"), ("agent", AGENT, "input")], ids=["chat", "agent"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Any, Any]]:
    name, source, key = request.param
    folder: Path = tmp_path_factory.mktemp(name)
    (folder / "code.py").write_text(textwrap.dedent(source))
    mlflow.pyfunc.save_model(folder / "model", python_model=str(folder / "code.py"), **PIP)
    body = {key: ASKED}
    with in_thread(folder / "model") as server:
        yield server, body, mlflow.pyfunc.load_model(str(folder / "model")).predict(body)


def test_a_bare_request_has_a_bare_reply(served: tuple[Running, Any, Any]) -> None:
    server, body, expected = served
    assert "HELLO" in str(expected)
    assert server.post("/invocations", body).json() == expected


def test_v1_wraps_both(served: tuple[Running, Any, Any]) -> None:
    server, body, expected = served
    assert server.predict({"instances": [body]}).json()["predictions"] == expected


def test_samples_work(served: tuple[Running, Any, Any]) -> None:
    server, _, _ = served
    samples = server.get("/schema").json()["samples"]
    for form in ("v1", "v2", "invocations"):
        response = server.post(samples[form]["path"], samples[form]["body"])
        assert response.status_code == 200, response.text


def test_mistakes(served: tuple[Running, Any, Any]) -> None:
    server, body, _ = served
    key = next(iter(body))
    response = server.post("/invocations", {key: "hello"})
    assert (response.status_code, f"input '{key}', row 0: expected a list, got a string" in response.text) == (
        400,
        True,
    )
