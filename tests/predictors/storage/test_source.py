"""Every kind of model URI, against a real MLflow server with a registry."""

from __future__ import annotations

import base64
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from predictors.flavor import read_mlmodel
from predictors.pipeline.settings import Settings
from predictors.serving.startup import read_settings
from predictors.storage.failures import SourceError
from predictors.storage.source import Source, resolve, served_version
from tests.http_server import QuietHandler
from tests.registry import MLFLOW_VARIABLES, mlflow_server
from tests.serving import in_thread, process
from tests.zoo.case import PIP, numbers


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("tracking")) as uri:
        yield uri


@pytest.fixture(scope="module")
def registered(tracking: str) -> dict[str, str]:
    """Two versions of the model `fraud`: the first answers 1 × a, the second 2 × a."""
    mlflow.set_tracking_uri(tracking)
    data = numbers()[["a"]]
    ids: dict[str, str] = {}
    for factor in (1, 2):
        with mlflow.start_run() as run:
            model = LinearRegression().fit(data, data.a * factor)
            info = mlflow.sklearn.log_model(
                model, name="model", signature=infer_signature(data), registered_model_name="fraud", **PIP
            )
            ids |= {f"run{factor}": run.info.run_id, f"id{factor}": str(info.model_id)}
            ids[f"artifacts{factor}"] = str(mlflow.get_logged_model(info.model_id).artifact_location)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("fraud", "champion", "1")
    client.set_registered_model_alias("fraud", "challenger", "2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client.transition_model_version_stage("fraud", "1", "Production")
    mlflow.set_tracking_uri("")
    return ids


def version_and_factor(source: Source, settings: Settings) -> tuple[str, float]:
    model = mlflow.sklearn.load_model(str(source.path))
    factor = float(model.predict(numbers(1)[["a"]])[0] / numbers(1).a[0])
    return served_version(settings, source, read_mlmodel(source.path)), round(factor, 6)


@pytest.mark.parametrize(
    ("uri", "resolved", "version", "factor"),
    [
        ("models:/fraud/1", "models:/fraud/1", "1", 1),
        ("models:/fraud/2", "models:/fraud/2", "2", 2),
        ("models:/fraud@champion", "models:/fraud/1", "1", 1),
        ("models:/fraud@challenger", "models:/fraud/2", "2", 2),
        ("models:/fraud/Production", "models:/fraud/1", "1", 1),
        ("models:/fraud/latest", "models:/fraud/2", "2", 2),
        ("models:/{id2}", "models:/{id2}", "{id2}", 2),
        ("runs:/{run1}/model", "runs:/{run1}/model", "{run1}", 1),
        ("{artifacts2}", "{artifacts2}", "{id2}", 2),
    ],
)
def test_every_kind_of_uri(
    tracking: str, registered: dict[str, str], uri: str, resolved: str, version: str, factor: int, tmp_path: Path
) -> None:
    settings = Settings(model_uri=uri.format(**registered), tracking_uri=tracking)
    notes: list[str] = []
    source = resolve(settings, notes.append, tmp_path)
    assert source.uri == settings.model_uri
    assert source.resolved_uri == resolved.format(**registered)
    assert version_and_factor(source, settings) == (version.format(**registered), factor)
    assert any(note.startswith("downloading ") for note in notes)
    assert registered["artifacts2"].startswith("mlflow-artifacts:/")


def test_an_alias_is_served_with_its_version(tracking: str, registered: dict[str, str], tmp_path: Path) -> None:
    flags = ("--model-uri", "models:/fraud@challenger", "--tracking-uri", tracking, "--workers", "2")
    with process(tmp_path, *flags) as server:
        reply = server.running.predict({"instances": [[3.0]]}).json()
        assert (reply["model_version"], reply["predictions"]) == ("2", [pytest.approx(6.0)])
        assert server.log.count("downloading models:/fraud/2") == 1


@pytest.mark.parametrize("uri", ["{folder}", "file://{folder}", "{relative}"])
def test_folders(zoo: Callable[[str], Path], uri: str) -> None:
    folder = zoo("sklearn-logistic")
    text = uri.format(folder=folder, relative=os.path.relpath(folder))
    source = resolve(Settings(model_uri=text))
    assert source.path.resolve() == folder.resolve()
    with in_thread(text, model_version="v7") as server:
        assert server.predict({"instances": [[1, 1, 0, 0]]}).json()["model_version"] == "v7"


def test_a_downloaded_folder_has_its_version(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(zoo("sklearn-logistic"), tmp_path / "model")
    (tmp_path / "model" / "registered_model_meta").write_text("model_name: fraud\nmodel_version: '12'\n")
    settings = Settings(model_local_path=str(tmp_path / "model"), model_uri="models:/fraud/12")
    source = resolve(settings)
    assert (source.uri, source.version) == ("models:/fraud/12", "12")


def test_without_a_uri_the_mounted_model_or_the_demo_is_used(
    zoo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("predictors.storage.source.MODEL_MOUNT", tmp_path / "none")
    assert resolve(Settings()).demo
    monkeypatch.setattr("predictors.storage.source.MODEL_MOUNT", zoo("sklearn-logistic"))
    assert resolve(Settings()).path == zoo("sklearn-logistic")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("models:/fraud@nobody", "resolving models:/fraud@nobody failed"),
        ("models:/fraud/99", "downloading models:/fraud/99 failed"),
        ("models:/fraud/Staging", "the registry has no such version of 'fraud'"),
        ("models:/nothing/latest", "Registered Model with name=nothing not found"),
        ("runs:/0123456789abcdef0123456789abcdef/model", "downloading runs:/"),
        ("models:/fraud", "expected models:/NAME/VERSION"),
    ],
)
def test_a_permanent_failure_is_not_retried(tracking: str, registered: dict[str, str], uri: str, words: str) -> None:
    notes: list[str] = []
    with pytest.raises(SourceError) as error:
        resolve(Settings(model_uri=uri, tracking_uri=tracking, download_backoff=0.0), notes.append)
    assert words in str(error.value).replace('"', "'")
    assert "\n" not in str(error.value)
    assert not any("trying again" in note for note in notes)


class FailingProxy(QuietHandler):
    """A proxy of the tracking server that refuses some requests at first; it records their credentials."""

    refusals: int
    upstream: str
    address: str
    seen: list[str | None]

    def do_GET(self) -> None:
        type(self).seen.append(self.headers["Authorization"])
        if type(self).refusals > 0:
            type(self).refusals -= 1
            self.reply(503, b"{}")
            return
        response = httpx.get(self.upstream + self.path)
        self.reply(response.status_code, response.content, response.headers["content-type"])


@pytest.fixture
def proxy(tracking: str) -> Iterator[type[FailingProxy]]:
    class Proxy(FailingProxy):
        refusals, upstream, seen = 0, tracking, []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    Proxy.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Proxy
    server.shutdown()
    server.server_close()


def test_a_temporary_failure_is_retried(
    proxy: Any, registered: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    proxy.refusals = 2
    notes: list[str] = []
    settings = Settings(model_uri="models:/fraud@champion", tracking_uri=proxy.address, download_backoff=0.01)
    assert resolve(settings, notes.append, tmp_path).version == "1"
    assert [note.rpartition("(")[2] for note in notes if "trying again" in note] == ["3 left)", "2 left)"]


def test_retries_are_limited(proxy: Any, registered: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    proxy.refusals = 1000
    settings = Settings(
        model_uri="models:/fraud@champion", tracking_uri=proxy.address, download_backoff=0.01, download_retries=1
    )
    with pytest.raises(SourceError, match="resolving models:/fraud@champion failed"):
        resolve(settings)


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (200, {}, b"<html>\n<body>Please log in</body>", "not in a valid JSON format"),
        (200, {}, b"[1, 2]", "not in a valid JSON format"),
        (200, {}, b"[" * 100_000, "not in a valid JSON format"),
        (200, {}, b"{}", "expected a number as the version"),
        (200, {}, b'{"model_version": {"version": {"a": 1}}}', "ParseError"),
        (
            200,
            {},
            b'{"model_version": {"version": "../../x"}}',
            "expected a number as the version, the registry answers",
        ),
        (302, {"Location": "file:///etc/passwd"}, b"", "No connection adapters"),
        (302, {"Location": "/"}, b"", "redirects"),
    ],
)
def test_a_registry_that_answers_nonsense(status: int, headers: dict[str, str], body: bytes, words: str) -> None:
    class Nonsense(QuietHandler):
        def do_GET(self) -> None:
            self.reply(status, body, **headers)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        with pytest.raises(SourceError, match=words) as refused:
            resolve(Settings(model_uri="models:/fraud@champion", tracking_uri=address, download_retries=0))
    finally:
        server.shutdown()
        server.server_close()
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 1000


def test_user_and_password_are_sent(proxy: Any, registered: dict[str, str]) -> None:
    settings = Settings(
        model_uri="models:/fraud@champion", tracking_uri=proxy.address, tracking_username="ada", tracking_password="pw"
    )
    resolve(settings)
    assert set(proxy.seen) == {"Basic " + base64.b64encode(b"ada:pw").decode()}
    assert "pw" not in repr(settings)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mlflow://models/fraud@champion", "models:/fraud@champion"),
        ("mlflow://models/fraud/3", "models:/fraud/3"),
        ("mlflow://models/m-0123", "models:/m-0123"),
        ("mlflow://models:/fraud@champion", "models:/fraud@champion"),
        ("mlflow://runs/0123/model", "runs:/0123/model"),
        ("mlflow://artifacts/0/0123/artifacts/model", "mlflow-artifacts:/0/0123/artifacts/model"),
        ("models:/fraud/3", "models:/fraud/3"),
        ("s3://bucket/mlflow", "s3://bucket/mlflow"),
    ],
)
def test_kserves_spelling(uri: str, expected: str) -> None:
    assert read_settings(["--model-uri", uri]).model_uri == expected


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tracking-uri", "localhost:5000"], "--tracking-uri: expected a scheme, such as http://localhost:5000"),
        (["--model-uri", "modles:/fraud/3"], "--model-uri: unknown scheme 'modles:' (did you mean 'models:'?)"),
        (["--model-uri", "run:/0123/model"], "--model-uri: unknown scheme 'run:' (did you mean 'runs:'?)"),
    ],
)
def test_misspelt_addresses(capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    """Nothing is tried: it could not succeed."""
    with pytest.raises(SystemExit) as ended:
        read_settings(flags, prog="python -m predictors.mlflow", description="")
    assert (ended.value.code, words in capsys.readouterr().err) == (2, True)


def test_an_unknown_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read_settings([], {"MODEL_URI": "mlflow://fraud/3"})
    assert end.value.code == 2
    assert "MODEL_URI: 'mlflow://fraud/3' is not usable: expected mlflow://models/…" in capsys.readouterr().err
