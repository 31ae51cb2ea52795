"""The storage initializer as a process, against real servers: MLflow's, an S3 server and a plain HTTP server."""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import httpx
import mlflow
import pytest
from moto.server import ThreadedMotoServer

from predictors.storage import cache
from predictors.storage.cache import Entry
from predictors.storage.output_folder import PLACING, STAGE
from predictors.storage.provenance import PROVENANCE_FILE, read_provenance
from predictors.storage.source import DEMO, local
from tests.http_server import QuietHandler
from tests.registry import MLFLOW_VARIABLES, mlflow_server
from tests.serving import in_thread, wait_for
from tests.storage import InitializerProcess, start

BLOB = "weights.bin"
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*MLFLOW_VARIABLES, "HOSTNAME", "POD_NAMESPACE", "STORAGE_CONFIG"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class RegistryProxy(QuietHandler):
    """A proxy of the tracking server that records downloads and can pause in the middle of one."""

    upstream: str
    seen: list[str]
    half: threading.Event
    """Set when half of the blob is sent and the rest waits for `gate`."""
    gate: threading.Event
    refusals: int

    def do_GET(self) -> None:
        proxy = type(self)
        if proxy.refusals:
            proxy.refusals -= 1
            self.reply(503, b"{}", "application/json")
            return
        response = httpx.request("GET", proxy.upstream + self.path, headers={"Accept": "*/*"}, timeout=60)
        if self.path.endswith(BLOB):
            proxy.seen.append(self.path)
            self.reply_in_halves(response.status_code, response.content, response.headers["content-type"])
        else:
            self.reply(response.status_code, response.content, response.headers["content-type"])

    def reply_in_halves(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client was killed
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            type(self).half.set()
            type(self).gate.wait(60)
            self.wfile.write(body[len(body) // 2 :])


@dataclass
class StorageRegistry:
    """A registry with the model `fraud`: version 1 is the champion, version 2 has an extra file."""

    uri: str
    client: mlflow.MlflowClient
    run_id: str
    proxy: type[RegistryProxy]


@contextlib.contextmanager
def http(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def shared_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageRegistry]:
    folder = tmp_path_factory.mktemp("tracking")
    with mlflow_server(folder) as upstream:
        client = mlflow.MlflowClient(tracking_uri=upstream)
        run_id = client.create_run("0").info.run_id
        shutil.copytree(DEMO, folder / "model", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "model" / BLOB).write_bytes(os.urandom(2_000_000))
        (folder / "model" / "empty").touch()
        client.create_registered_model("fraud")
        for version in (1, 2):
            if version == 2:
                (folder / "model" / "second").write_text("2")
            client.log_artifacts(run_id, str(folder / "model"), f"model{version}")
            source = f"{client.get_run(run_id).info.artifact_uri}/model{version}"
            client.create_model_version("fraud", source, run_id)

        class Proxy(RegistryProxy):
            pass

        Proxy.upstream = upstream
        with http(Proxy) as uri:
            yield StorageRegistry(uri, client, run_id, Proxy)


@pytest.fixture
def registry(shared_registry: StorageRegistry) -> StorageRegistry:
    proxy = shared_registry.proxy
    proxy.seen, proxy.refusals, proxy.half, proxy.gate = [], 0, threading.Event(), threading.Event()
    proxy.gate.set()
    shared_registry.client.set_registered_model_alias("fraud", "champion", "1")
    return shared_registry


@dataclass
class InitializerPod:
    """The folders and the environment of one pod."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def models(self) -> Path:
        return self.path / "models"

    def start(self, uri: str, folder: Path | None = None, **env: Any) -> InitializerProcess:
        settings = {"CACHE_PATH": str(self.cache), "BACKOFF_SECONDS": "0.01", "MAX_RETRIES": "2", **self.env, **env}
        environ = {name: str(value) for name, value in {**os.environ, **settings}.items() if value is not None}
        return start([uri, str(folder or self.models)], environ, self.path / f"{next(self.numbers)}.log")

    def run(self, uri: str, folder: Path | None = None, *, code: int = 0, **env: Any) -> str:
        """Runs the initializer and returns its log."""
        process = self.start(uri, folder, **env)
        assert process.wait() == code, process.log
        assert "Traceback" not in process.log
        return process.log

    def entry(self) -> Entry:
        (only,) = cache.entries(self.cache)
        return only

    def leftovers(self) -> list[str]:
        """What an interrupted download has left."""
        partials = [str(one.path) for one in cache.partials(self.cache)] if self.cache.exists() else []
        return partials + ([str(path) for path in self.models.iterdir()] if self.models.exists() else [])


@pytest.fixture
def bare_pod(tmp_path: Path) -> InitializerPod:
    """A pod without a cache and a registry."""
    return InitializerPod(tmp_path)


@pytest.fixture
def pod(bare_pod: InitializerPod, registry: StorageRegistry) -> InitializerPod:
    bare_pod.cache.mkdir()
    bare_pod.env["MLFLOW_TRACKING_URI"] = registry.uri
    return bare_pod


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# -- fetching -----------------------------------------------------------------------------------------------------


def test_an_alias_becomes_a_version(pod: InitializerPod, registry: StorageRegistry) -> None:
    log = pod.run("mlflow://models/fraud@champion", POD_NAMESPACE="team", POD_NAME="fraud-0", POD_UID="1234")
    assert "models:/fraud@champion resolves to models:/fraud/1" in log
    known = read_provenance(pod.models / PROVENANCE_FILE)
    assert known is not None
    assert (known.uri, known.resolved_uri, known.version) == ("models:/fraud@champion", "models:/fraud/1", "1")
    assert names(pod.models) == {*known.files, PROVENANCE_FILE}
    assert {"MLmodel", BLOB, "empty"} <= set(known.files)
    entry = pod.entry()
    assert entry.key.startswith("models-fraud-1-")
    assert entry.provenance is not None
    assert entry.provenance.digest == known.digest
    assert [(user.namespace, user.pod, user.uid) for user in entry.users] == [("team", "fraud-0", "1234")]
    assert (entry.model / BLOB).stat().st_ino == (pod.models / BLOB).stat().st_ino
    assert not (entry.model / BLOB).stat().st_mode & 0o222

    assert f"{pod.models} already holds models:/fraud/1" in pod.run("models:/fraud@champion")
    registry.client.set_registered_model_alias("fraud", "champion", "2")
    pod.run("models:/fraud@champion")
    moved = read_provenance(pod.models / PROVENANCE_FILE)
    assert moved is not None
    assert (moved.version, moved.digest != known.digest) == ("2", True)
    assert (pod.models / "second").exists()
    assert len(registry.proxy.seen) == 2

    registry.client.set_registered_model_alias("fraud", "champion", "1")
    assert "from the cache" in pod.run("models:/fraud@champion")
    assert names(pod.models) == {*known.files, PROVENANCE_FILE}
    assert len(registry.proxy.seen) == 2


@pytest.mark.parametrize(
    "uri",
    [
        "runs:/{run}/model1",
        "mlflow://runs/{run}/model1",
        "mlflow-artifacts:/0/{run}/artifacts/model1",
        "mlflow://artifacts/0/{run}/artifacts/model1",
    ],
)
def test_other_uris_of_mlflow(pod: InitializerPod, registry: StorageRegistry, uri: str) -> None:
    pod.run(uri.format(run=registry.run_id), STORAGE_STRATEGY="emptydir")
    assert {"MLmodel", BLOB, "empty", PROVENANCE_FILE} <= names(pod.models)
    assert not list(pod.cache.iterdir())


def test_the_cache_keeps_servers_apart(pod: InitializerPod) -> None:
    pod.run("models:/fraud/1")
    pod.env["MAX_RETRIES"] = "0"
    key = pod.entry().key
    # The address is part of the key: another server's models:/fraud/1 is another model.
    log = pod.run("models:/fraud/1", pod.path / "other", code=5, MLFLOW_TRACKING_URI="http://user:secret@127.0.0.1:9")
    assert "http://127.0.0.1:9" in log
    assert "secret" not in log
    assert pod.entry().key == key


def test_links_to_a_cache_under_a_relative_path(pod: InitializerPod) -> None:
    path = Path(os.path.relpath(pod.cache))
    pod.run("models:/fraud/1", CACHE_LINK="symlink", CACHE_PATH=path)
    assert (pod.models / "MLmodel").is_file()


@pytest.mark.parametrize("link", ["hardlink", "symlink", "copy"])
def test_how_the_folder_is_filled(pod: InitializerPod, link: str) -> None:
    pod.run("models:/fraud/1", CACHE_LINK=link)
    same = (pod.models / BLOB).samefile(pod.entry().model / BLOB)
    assert same == (link != "copy")
    assert (pod.models / "MLmodel").is_symlink() == (link == "symlink")
    assert "already" in pod.run("models:/fraud/1", CACHE_LINK=link)


def test_a_folder(bare_pod: InitializerPod) -> None:
    source = bare_pod.path / "source"
    shutil.copytree(DEMO, source / "inner")
    log = bare_pod.run(str(source), STORAGE_STRATEGY="emptydir")
    assert "inner may be meant" in log
    assert (bare_pod.models / "inner" / "MLmodel").is_file()
    bare_pod.run(f"file://{source}/inner")
    assert (bare_pod.models / "MLmodel").is_file()
    assert not (bare_pod.models / "inner").exists()
    bare_pod.run("/nowhere", code=3)


def test_several_pairs_in_one_command(bare_pod: InitializerPod) -> None:
    command = [
        sys.executable,
        "-m",
        "predictors.storage",
        str(DEMO),
        f"{bare_pod.path}/a",
        str(DEMO),
        f"{bare_pod.path}/b",
    ]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    assert (bare_pod.path / "a" / "MLmodel").is_file()
    assert (bare_pod.path / "b" / "MLmodel").is_file()


# -- the server ---------------------------------------------------------------------------------------------------


def test_the_server_shows_the_provenance_and_follows_the_alias(pod: InitializerPod, registry: StorageRegistry) -> None:
    pod.run("models:/fraud@champion")
    known = read_provenance(pod.models / PROVENANCE_FILE)
    assert known is not None
    settings: dict[str, Any] = {
        "model_local_path": str(pod.models), "tracking_uri": registry.uri, "reload_interval": 0.2,
    }  # fmt: skip
    with in_thread("models:/fraud@champion", **settings) as server:

        def properties() -> dict[str, str]:
            metadata: dict[str, dict[str, str]] = server.get("/v2/models/model").json()
            return metadata["properties"]

        first = properties()
        assert (first["model_uri"], first["asked_uri"]) == ("models:/fraud/1", "models:/fraud@champion")
        assert first["digest"] == known.digest
        assert server.post("/v2/repository/models/model/load").status_code == 200
        assert len(registry.proxy.seen) == 1  # the folder is the version that the alias names: nothing to fetch
        registry.client.set_registered_model_alias("fraud", "champion", "2")
        wait_for(lambda: properties()["model_uri"] == "models:/fraud/2")
        assert server.get("/v2/models/model").json()["versions"] == ["2"]
        assert server.post("/v2/repository/models/model/load").status_code == 200
        assert properties()["model_uri"] == "models:/fraud/2"  # the folder still holds version 1


def test_a_model_that_is_linked_to_the_cache_is_served(pod: InitializerPod) -> None:
    pod.run("models:/fraud/1", CACHE_LINK="symlink")
    with in_thread(None, model_local_path=str(pod.models)) as server:
        assert server.get("/v2/models/model").json()["properties"]["model_uri"] == "models:/fraud/1"
    (pod.entry().path / cache.ENTRY).write_text("{}")
    assert (
        local(pod.models).path == pod.models
    )  # without a valid entry it is an ordinary folder, whose links are refused


# -- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "code", "words"),
    [
        ("models:/fraud@nobody", 3, "nobody not found"),
        ("models:/fraud/99", 3, "version=99"),
        ("models:/nothing/latest", 3, "nothing not found"),
        ("models:/fraud", 2, "expected models:/NAME/VERSION"),
        ("runs:/{run}/none", 3, "none"),
        ("runs:/0123456789abcdef0123456789abcdef/model", 3, "0123456789abcdef0123456789abcdef"),
    ],
)
def test_a_permanent_failure_is_not_retried(
    pod: InitializerPod, registry: StorageRegistry, uri: str, code: int, words: str
) -> None:
    log = pod.run(uri.format(run=registry.run_id), code=code)
    assert words in log
    assert "trying again" not in log
    assert pod.leftovers() == []


def test_a_temporary_failure_is_retried(pod: InitializerPod, registry: StorageRegistry) -> None:
    registry.proxy.refusals = 2
    assert "trying again" in pod.run("models:/fraud@champion", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    registry.proxy.refusals = 99
    log = pod.run("models:/fraud@champion", code=5, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert log.count("trying again") == 2
    registry.proxy.refusals = 0


def test_invalid_settings(bare_pod: InitializerPod) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"STORAGE_STRATEGY": "nfs"}, "STORAGE_STRATEGY: 'nfs' is not usable: expected one of auto, emptydir, pvc"),
        ({"MAX_RETRIES": "-1"}, "MAX_RETRIES: '-1' is not usable"),
    ]
    for env, words in refused:
        assert words in bare_pod.run(str(DEMO), code=2, **env)
    assert "expected mlflow://models/…" in bare_pod.run("mlflow://fraud/3", code=2)
    assert "set MLFLOW_TRACKING_URI or --tracking-uri" in bare_pod.run("models:/fraud/3", code=2)


@pytest.mark.parametrize("strategy", ["pvc", "emptydir"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_a_download_that_is_stopped_half_way(
    pod: InitializerPod, registry: StorageRegistry, number: signal.Signals, strategy: str
) -> None:
    registry.proxy.gate.clear()
    process = pod.start("models:/fraud/1", STORAGE_STRATEGY=strategy)
    assert registry.proxy.half.wait(60)
    wait_for(lambda: any(path.is_file() and path.name == BLOB for path in pod.path.rglob("*")))
    assert process.process.pid is not None
    os.kill(process.process.pid, number)
    assert process.wait() == (143 if number == signal.SIGTERM else -9)
    registry.proxy.gate.set()
    assert cache.entries(pod.cache) == []
    assert not (pod.models / "MLmodel").exists()
    if number == signal.SIGTERM:
        assert pod.leftovers() == []
    log = pod.run("models:/fraud/1", STORAGE_STRATEGY=strategy)
    assert ("left by an interrupted download" in log or "removing what an interrupted run left" in log) == (
        number == signal.SIGKILL
    )
    assert {"MLmodel", BLOB, PROVENANCE_FILE} <= names(pod.models)
    assert cache.partials(pod.cache) == []


def test_many_pods_download_once(pod: InitializerPod, registry: StorageRegistry) -> None:
    registry.proxy.gate.clear()
    processes = [pod.start("models:/fraud/1", pod.path / f"pod{number}") for number in range(5)]
    assert registry.proxy.half.wait(60)
    wait_for(lambda: sum("waiting for another process" in one.log for one in processes) == 4)
    registry.proxy.gate.set()
    assert [one.wait() for one in processes] == [0] * 5
    assert len(registry.proxy.seen) == 1
    assert all((pod.path / f"pod{number}" / BLOB).samefile(pod.entry().model / BLOB) for number in range(5))


def test_a_waiting_pod_continues_when_the_downloading_one_is_killed(
    pod: InitializerPod, registry: StorageRegistry
) -> None:
    registry.proxy.gate.clear()
    first = pod.start("models:/fraud/1", pod.path / "first")
    assert registry.proxy.half.wait(60)
    second = pod.start("models:/fraud/1", pod.path / "second")
    wait_for(lambda: "waiting for another process" in second.log)
    first.process.kill()
    registry.proxy.gate.set()
    assert first.wait() == -9
    assert second.wait() == 0
    assert {"MLmodel", BLOB} <= names(pod.path / "second")


def damage(path: Path, *, shorter: bool = False) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content[:-1] if shorter else content)


def test_a_damaged_entry_is_downloaded_again(pod: InitializerPod, registry: StorageRegistry) -> None:
    pod.run("models:/fraud/1", pod.path / "a", CACHE_LINK="copy")
    good = (pod.entry().model / BLOB).read_bytes()
    damage(pod.entry().model / BLOB)
    assert "from the cache" in pod.run("models:/fraud/1", pod.path / "b", VERIFY="size", CACHE_LINK="copy")
    log = pod.run("models:/fraud/1", pod.path / "c")
    assert f"damaged and is downloaded again: {BLOB} has a wrong checksum" in log
    assert (pod.path / "c" / BLOB).read_bytes() == good
    damage(pod.entry().model / "MLmodel", shorter=True)
    log = pod.run("models:/fraud/1", pod.path / "d", VERIFY="size")
    assert "damaged and is downloaded again: MLmodel has " in log
    (pod.entry().path / cache.ENTRY).write_text("{")
    assert "entry.json cannot be read" in pod.run("models:/fraud/1", pod.path / "e")
    assert len(registry.proxy.seen) == 4
    assert cache.trash(pod.cache) == []


def test_a_damaged_entry_stays_until_its_replacement_is_complete(
    pod: InitializerPod, registry: StorageRegistry
) -> None:
    pod.run("models:/fraud/1", CACHE_LINK="symlink", POD_NAMESPACE="models", POD_NAME="one")
    damage(pod.entry().model / BLOB)
    registry.proxy.refusals = 9
    pod.run("models:/fraud/1", pod.path / "other", code=5, MAX_RETRIES=0, STORAGE_STRATEGY="pvc")
    assert (pod.models / "MLmodel").is_file()
    registry.proxy.refusals = 0
    pod.run("models:/fraud/1", pod.path / "other", POD_NAMESPACE="models", POD_NAME="two")
    assert [user.pod for user in pod.entry().users] == ["one", "two"]  # the clean-up checks both


def test_several_pods_can_use_an_entry_at_once(pod: InitializerPod) -> None:
    pod.run("models:/fraud/1")
    with cache.locked(pod.cache, pod.entry().key, shared=True):
        assert "from the cache" in pod.run("models:/fraud/1", pod.path / "other")


def test_other_files_stay(bare_pod: InitializerPod) -> None:
    bare_pod.models.mkdir()
    (bare_pod.models / "note").write_text("mine")
    bare_pod.run(str(DEMO))
    assert (bare_pod.models / "note").read_text() == "mine"
    (bare_pod.models / PROVENANCE_FILE).unlink()
    before = names(bare_pod.models)
    assert "holds other files under names that the model needs: MLmodel" in bare_pod.run(str(DEMO), code=6)
    assert names(bare_pod.models) == before


def test_a_pod_killed_while_the_files_were_put_in_place(bare_pod: InitializerPod) -> None:
    bare_pod.run(str(DEMO))
    whole = names(bare_pod.models)
    (bare_pod.models / PROVENANCE_FILE).unlink()
    (bare_pod.models / "requirements.txt").unlink()
    stage = bare_pod.models / STAGE
    stage.mkdir()
    (stage / PLACING).write_text(json.dumps([path.name for path in DEMO.iterdir()]))
    (bare_pod.models / "note").write_text("mine")
    assert "removing what an interrupted run left" in bare_pod.run(str(DEMO))
    assert names(bare_pod.models) == whole | {"note"}


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_cache(pod: InitializerPod) -> None:
    with tmpfs(pod.cache, "size=1m"):
        log = pod.run("models:/fraud/1", code=6, STORAGE_STRATEGY="pvc")
        assert f"the volume of {pod.cache}" in log
        assert "is full" in log
        assert pod.leftovers() == []
        assert cache.entries(pod.cache) == []
        assert "continuing without the cache" in pod.run("models:/fraud/1", STORAGE_STRATEGY="auto")
    assert {"MLmodel", BLOB, PROVENANCE_FILE} <= names(pod.models)


@pytest.mark.parametrize("strategy", ["auto", "emptydir"])
def test_a_full_folder(pod: InitializerPod, strategy: str) -> None:
    with tmpfs(pod.models, "size=1m"):
        log = pod.run("models:/fraud/1", code=6, STORAGE_STRATEGY=strategy)
        assert f"the volume of {pod.models}" in log
        assert "trying again" not in log
        assert "continuing without" not in log
        assert list(pod.models.iterdir()) == []
    pod.run("models:/fraud/1", STORAGE_STRATEGY=strategy)


def test_volumes_that_are_read_only(pod: InitializerPod) -> None:
    with tmpfs(pod.models, "ro"):
        assert f"{pod.models}" in pod.run("models:/fraud/1", code=6)
    with tmpfs(pod.cache, "ro"):
        assert "is read-only" in pod.run("models:/fraud/1", code=6, STORAGE_STRATEGY="pvc")
        pod.run("models:/fraud/1", STORAGE_STRATEGY="auto")
    shutil.rmtree(pod.cache)
    assert "CACHE_PATH: there is no folder" in pod.run("models:/fraud/2", code=6, STORAGE_STRATEGY="pvc")


# -- archives over HTTP, and S3 -----------------------------------------------------------------------------------


def packed(name: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz" if name.endswith("gz") else "w") as archive:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class FileServer(QuietHandler):
    """Serves the files of a test, or the status in the path."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        body = self.files.get(path, b"")
        status = 200 if path in self.files else int(path.partition("/")[0])
        kinds = {"zip": "application/zip", "tar": "application/x-tar"}
        self.reply(status, body, kinds.get(path.rpartition(".")[2], "application/gzip"))


@pytest.fixture
def files() -> Iterator[tuple[str, dict[str, bytes]]]:
    class Server(FileServer):
        pass

    Server.files = {}
    with http(Server) as url:
        yield url, Server.files


@pytest.mark.parametrize("name", ["m.zip", "m.tar", "m.tar.gz", "m.tgz"])
def test_a_packed_model_over_http(bare_pod: InitializerPod, files: tuple[str, dict[str, bytes]], name: str) -> None:
    url, served = files
    served[name] = packed(name, {"fraud/MLmodel": b"flavors: {}", "fraud/data/a": b"x"})
    log = bare_pod.run(f"{url}/{name}?signature=SECRET")
    assert names(bare_pod.models) == {"MLmodel", "data/a", PROVENANCE_FILE}
    assert "the model is the folder fraud of m." in log
    assert "SECRET" not in log
    assert "SECRET" not in (bare_pod.models / PROVENANCE_FILE).read_text()


def test_unsafe_and_broken_archives_over_http(bare_pod: InitializerPod, files: tuple[str, dict[str, bytes]]) -> None:
    url, served = files
    for name in ("m.zip", "m.tar", "m.tgz"):
        served[name] = packed(name, {"../../out": b"x"})
        assert "outside of the archive" in bare_pod.run(f"{url}/{name}", code=7)
        assert bare_pod.leftovers() == []
        served[name] = packed(name, {"MLmodel": bytes(3_000_000)})
        assert "MAX_UNPACKED_SIZE" in bare_pod.run(f"{url}/{name}", code=7, MAX_UNPACKED_SIZE="1MiB")
        served[name] = packed(name, {"MLmodel": os.urandom(100_000)})[:50_000]
        bare_pod.run(f"{url}/{name}", code=7)
    assert not list(bare_pod.path.rglob("out"))


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (404, 3), (503, 5)])
def test_statuses_of_the_server(
    bare_pod: InitializerPod, files: tuple[str, dict[str, bytes]], status: int, code: int
) -> None:
    log = bare_pod.run(f"{files[0]}/{status}/m.zip?signature=SECRET", code=code)
    assert log.count("trying again") == (2 if code == 5 else 0)
    assert "SECRET" not in log


def test_s3(bare_pod: InitializerPod) -> None:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_DEFAULT_REGION": "us-east-1"}
        client = boto3.client(
            "s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id="key", aws_secret_access_key="SECRET",
            region_name="us-east-1",
        )  # fmt: skip
        client.create_bucket(Bucket="models")
        archive = packed("m.tgz", {"MLmodel": b"flavors: {}"})
        for key, body in (
            ("fraud/MLmodel", b"a: b"),
            ("fraud/code/__init__.py", b""),
            ("fraud2/MLmodel", b""),
            ("m.tgz", archive),
        ):
            client.put_object(Bucket="models", Key=key, Body=body)
        bare_pod.cache.mkdir()
        bare_pod.env |= {**keys, "S3_ENDPOINT": f"{host}:{port}", "S3_USE_HTTPS": "0"}
        log = bare_pod.run("s3://models/fraud")
        assert "has no version: it is not cached" in log
        assert names(bare_pod.models) == {"MLmodel", "code/__init__.py", PROVENANCE_FILE}
        bare_pod.run("s3://models/fraud", bare_pod.path / "kept", CACHE_UNVERSIONED="true")
        assert bare_pod.entry().provenance is not None
        bare_pod.run("s3://models/m.tgz", bare_pod.path / "packed")
        assert names(bare_pod.path / "packed") == {"MLmodel", PROVENANCE_FILE}
        config = {
            "type": "s3",
            "access_key_id": "key",
            "secret_access_key": "SECRET",
            "endpoint_url": f"http://{host}:{port}",
        }
        kserve_secret: dict[str, Any] = dict.fromkeys(("S3_ENDPOINT", *list(keys)[:2]))
        kserve_secret["STORAGE_CONFIG"] = json.dumps(config)
        bare_pod.run("s3://models/fraud", bare_pod.path / "spec", **kserve_secret)
        log = bare_pod.run("s3://models/fraud", code=4, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
        assert "not set: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in log
        assert bare_pod.run("s3://nothing/fraud", code=3).count("SECRET") == 0
        assert "models/none" in bare_pod.run("s3://models/none", code=3)
    finally:
        server.stop()
    log = bare_pod.run("s3://models/fraud", code=5, AWS_MAX_ATTEMPTS="1")
    assert f"{host}:{port}" in log


# -- the cache alone ----------------------------------------------------------------------------------------------


def test_the_lock_of_an_entry(tmp_path: Path) -> None:
    key = cache.key_of("models:/fraud/3", "http://mlflow")
    assert key != cache.key_of("models:/fraud/3", "http://other")
    assert cache.KEY.fullmatch(key)
    hold = f"from predictors.storage.cache import locked; from pathlib import Path\nwith locked(Path({str(tmp_path)!r}), {key!r}): print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for shared in (True, False):
            with pytest.raises(cache.Busy), cache.locked(tmp_path, key, shared=shared, wait=False):
                pass
        other.kill()
        other.wait()
    with cache.locked(tmp_path, key, wait=False) as has_lock:
        assert has_lock


def test_a_lock_file_that_is_removed_while_another_waits(tmp_path: Path) -> None:
    held = threading.Event()
    with cache.locked(tmp_path, "key"):

        def other() -> None:
            with cache.locked(tmp_path, "key"):
                held.set()

        thread = threading.Thread(target=other)
        thread.start()
        (tmp_path / cache.LOCKS / "key").unlink()
    assert held.wait(30)
    thread.join()
    with (tmp_path / cache.LOCKS / "key").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_other_folders_are_no_entries(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "theirs").mkdir()
    assert cache.entries(tmp_path) == []
