"""Which MLflow is asked: a server, a store of this machine, or nobody; no store is ever begun."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import mlflow
import pytest
from mlflow.store.artifact.s3_artifact_repo import _cached_get_s3_client

from predictors.drift import attach, profile
from predictors.drift.profiles import ProfileError
from predictors.pipeline.settings import Settings
from predictors.storage import tracking
from predictors.storage.failures import SourceError
from predictors.storage.source import Source, resolve
from tests.http_server import QuietHandler
from tests.predictors.protocol.test_chat import AGENT
from tests.registry import MLFLOW_VARIABLES, register
from tests.serving import in_thread
from tests.zoo.case import PIP, numbers

S3_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_PROFILE",
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_ENDPOINT_URL",
)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working folder, with nothing in it, and no server of MLflow's named anywhere."""
    for variable in (*MLFLOW_VARIABLES, *S3_VARIABLES, "MLFLOW_REGISTRY_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    mlflow.set_tracking_uri(None)
    empty = tmp_path / "working"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return empty


def resolved(uri: str, **settings: Any) -> Source:
    """With no time to wait: whoever would try again fails."""
    return resolve(Settings(model_uri=uri, download_backoff=1000.0, **settings), lambda _: None)


def refusal(uri: str, **settings: Any) -> str:
    with pytest.raises(SourceError) as error:
        resolved(uri, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def begin_store(uri: str, zoo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        register(uri, zoo("sklearn-logistic"), "fraud", "champion")


@pytest.mark.parametrize("uri", ["models:/fraud@champion", "models:/fraud/1", "runs:/0123/model", "models:/m-0123"])
def test_nobody_to_ask(uri: str, folder: Path) -> None:
    assert "no tracking server is named" in (words := refusal(uri))
    assert "set MLFLOW_TRACKING_URI or --tracking-uri, for example to http://localhost:5000" in words
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("uri", ["sqlite:///none.db", "./mlruns", "file:mlruns"])
def test_a_store_that_is_not_there(uri: str, folder: Path) -> None:
    assert f"which {uri} names as MLflow's store" in refusal("models:/fraud/1", tracking_uri=uri)
    assert list(folder.iterdir()) == []


def test_artifacts_alone_are_no_store(folder: Path) -> None:
    (folder / "mlruns" / "0" / "artifacts").mkdir(parents=True)
    assert "mlflow.db" in refusal("models:/fraud/1")
    assert not (folder / "mlflow.db").exists()


@pytest.mark.parametrize("uri", ["sqlite:///here.db", "./mlruns"])
def test_a_store_of_this_machine(
    uri: str, folder: Path, zoo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_store(uri, zoo, monkeypatch)
    assert resolved("models:/fraud@champion", tracking_uri=uri).version == "1"


@pytest.mark.parametrize("uri", ["sqlite:///{}/mlflow.db", "{}/mlruns"])
def test_the_store_that_mlflow_has_begun_in_this_folder(
    uri: str, folder: Path, zoo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_store(uri.format(folder), zoo, monkeypatch)
    assert resolved("models:/fraud/1").version == "1"


def test_a_database_needs_the_full_mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "DATABASE_PACKAGES", ("a_package_that_nobody_has",))
    (folder / "here.db").touch()
    for uri in ("sqlite:///here.db", "postgresql+psycopg2://me:secret@db/mlflow"):
        words = refusal("models:/fraud/1", tracking_uri=uri)
        assert words.endswith("is a database, which needs the full MLflow: pip install mlflow")
        assert "secret" not in words


class SameAnswer(QuietHandler):
    """A server that answers everything alike."""

    status: int
    body: bytes
    requests: int

    def do_GET(self) -> None:
        type(self).requests += 1
        self.reply(type(self).status, type(self).body)


@pytest.fixture
def store() -> Iterator[Callable[[int, bytes], str]]:
    class Alike(SameAnswer):
        requests = 0

    server = ThreadingHTTPServer(("127.0.0.1", 0), Alike)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def answering(status: int, body: bytes) -> str:
        Alike.status, Alike.body = status, body
        return f"http://127.0.0.1:{server.server_port}"

    yield answering
    server.shutdown()
    server.server_close()
    assert Alike.requests <= 1


@pytest.mark.parametrize("uri", ["models:/fraud@champion", "models:/fraud/1", "runs:/0123456789abcdef/model"])
@pytest.mark.parametrize(
    ("status", "body"), [(401, b"log in"), (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}')]
)
def test_a_server_that_wants_credentials(
    store: Callable[[int, bytes], str], status: int, body: bytes, uri: str
) -> None:
    address = store(status, body)
    words = refusal(uri, tracking_uri=address, tracking_username="ada")
    assert f"(credentials for {address}: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD" in words
    assert words.endswith("not set: MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN)")


def test_s3_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials of other tests
    _cached_get_s3_client.cache_clear()
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "not set: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in refusal("s3://bucket/model")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "NoSuchBucket", "MLFLOW_S3_ENDPOINT_URL names another"),
        (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY; all set"),
    ],
)
def test_s3_refuses(
    store: Callable[[int, bytes], str], monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str
) -> None:
    address = store(status, f"<Error><Code>{code}</Code><Message>told by S3</Message></Error>".encode())
    for variable, value in zip(S3_VARIABLES[:2], ("key", "hidden"), strict=True):
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", address)
    told = refusal("s3://bucket/model")
    assert ("told by S3" in told, words in told, address in told, "hidden" in told) == (True, True, True, False)


def test_traces_of_agents_begin_no_store(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(AGENT)
    mlflow.pyfunc.save_model(tmp_path / "chat", python_model=str(tmp_path / "code.py"), **PIP)
    mlflow.tracing.reset()  # as in a new process
    with in_thread(tmp_path / "chat") as server:
        assert server.post("/invocations", {"input": [{"role": "user", "content": "a"}]}).status_code == 200
    mlflow.flush_trace_async_logging()
    assert list(folder.iterdir()) == []


def test_a_profile_begins_no_store(folder: Path) -> None:
    with pytest.raises(ProfileError, match="no tracking server is named"):
        attach(profile(numbers()), "runs:/0123/model")
    assert list(folder.iterdir()) == []
