"""Options of the suite, and the server, model and requests that they name."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import httpx
import pytest

pytest.register_assert_rewrite(f"{__package__}.replies", f"{__package__}.grpc_messages")

from .grpc_messages import Requests  # noqa: E402
from .payloads import ConformancePayloads, Json, json_body  # noqa: E402
from .replies import HttpReply, inference, json_object  # noqa: E402

TIMEOUT = 60.0
CALLERS = 16
PACKAGES = {
    "kserve": "kserve",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
}
JSON_HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True)
class ServerUnderTest:
    """What the command line names."""

    url: str
    model: str
    grpc: str | None
    version: str | None
    sample: Json | None

    @property
    def path(self) -> str:
        """The model's path below the URL."""
        return f"/v2/models/{quote(self.model, safe='')}"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "Open Inference Protocol conformance")
    group.addoption("--url", help="the server's REST address, such as http://127.0.0.1:8080")
    group.addoption("--model", help="the model's name")
    group.addoption("--grpc", help="the server's gRPC address, such as 127.0.0.1:8081")
    # pytest itself has --version.
    group.addoption("--model-version", help="a version of the model that the server has")
    group.addoption("--input", help="a JSON file with a V2 request whose inputs the model accepts")
    group.addoption("--destructive", action="store_true", help="also unload and load the model")


def option(config: pytest.Config, name: str) -> Any:
    """An option, None where pytest read this file too late to know it (a run over more than this folder)."""
    return config.getoption(name, default=None)


def pytest_configure(config: pytest.Config) -> None:
    if option(config, "--url") and not option(config, "--model"):
        raise pytest.UsageError("--url needs --model: the name of the model to send requests to")


def client_of(target: ServerUnderTest) -> httpx.Client:
    """One for a single thread: now and then the pool closes a connection that another thread has begun to use."""
    # A connection each: a server that breaks one after an error fails the keep-alive tests, not all others.
    # No proxy from the environment: the server itself is on trial.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=target.url, limits=limits, timeout=TIMEOUT, trust_env=False)


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> ServerUnderTest:
    url = option(pytestconfig, "--url")
    if not url:
        pytest.skip("needs a server: pytest tests/conformance --url http://… --model NAME")
    sample = option(pytestconfig, "--input")
    return ServerUnderTest(
        url=url.rstrip("/"),
        model=option(pytestconfig, "--model"),
        grpc=option(pytestconfig, "--grpc"),
        version=option(pytestconfig, "--model-version"),
        sample=json.loads(Path(sample).read_text(encoding="utf-8")) if sample else None,
    )


@pytest.fixture(scope="session")
def http(target: ServerUnderTest) -> Iterator[httpx.Client]:
    with client_of(target) as client:
        try:
            client.get("/v2/health/live")
        except httpx.TransportError as error:
            pytest.exit(f"nothing answers at {target.url}: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
        yield client


@pytest.fixture(scope="session")
def metadata(http: httpx.Client, target: ServerUnderTest) -> Json:
    return json_object(http.get(target.path))


@pytest.fixture(scope="session")
def payloads(metadata: Json, target: ServerUnderTest) -> ConformancePayloads:
    """Makes valid inputs."""
    conformance_payloads = ConformancePayloads(metadata, target.sample)
    assert conformance_payloads.described, "the model's metadata names no inputs: give a sample request with --input"
    return conformance_payloads


@pytest.fixture(scope="session")
def batches(payloads: ConformancePayloads) -> ConformancePayloads:
    """Makes valid inputs of any number of rows."""
    if not payloads.batchable:
        pytest.skip("the model takes no batches: an input's first dimension is not -1")
    return payloads


@pytest.fixture(scope="session")
def post(http: httpx.Client, target: ServerUnderTest) -> Callable[..., httpx.Response]:
    """Sends an inference request: an object as JSON, bytes as they are."""

    def send(body: Json | bytes, headers: Mapping[str, str] = JSON_HEADERS) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return http.post(f"{target.path}/infer", content=content, headers=headers)

    return send


@pytest.fixture
def infer_at_once(target: ServerUnderTest) -> Callable[[Sequence[Json]], list[HttpReply]]:
    """Sends requests from 16 callers at once, each of which must succeed; returns the replies in the same order."""

    def send(bodies: Sequence[Json]) -> list[HttpReply]:
        def call(caller: int) -> list[HttpReply]:
            with client_of(target) as http:
                return [inference(http.post(f"{target.path}/infer", json=body)) for body in bodies[caller::CALLERS]]

        with ThreadPoolExecutor(CALLERS) as pool:
            shares = list(pool.map(call, range(CALLERS)))
        return [shares[index % CALLERS][index // CALLERS] for index in range(len(bodies))]

    return send


@pytest.fixture(scope="session")
def infer(post: Callable[..., httpx.Response]) -> Callable[..., HttpReply]:
    """Sends a request that must succeed; returns the reply, its tensors checked."""

    def send(body: Json | bytes, headers: Mapping[str, str] = JSON_HEADERS) -> HttpReply:
        return inference(post(body, headers))

    return send


@pytest.fixture(scope="session")
def expected(infer: Callable[..., HttpReply], payloads: ConformancePayloads) -> HttpReply:
    """The reply to one row sent as plain JSON, which all other ways are held against."""
    return infer(json_body(payloads.rows(1)))


@pytest.fixture(scope="session")
def load() -> Callable[[str], Any]:
    """Imports a client library, or skips."""

    def module(name: str) -> Any:
        # kserve reads sys.argv when it is imported and takes this suite's options for its own;
        # and what the library warns of says nothing about the server.
        with mock.patch.object(sys, "argv", sys.argv[:1]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pytest.importorskip(name, reason=f"needs {PACKAGES[name.partition('.')[0]]} installed")

    return module


@pytest.fixture(scope="session")
def grpc_address(target: ServerUnderTest) -> str:
    if not target.grpc:
        pytest.skip("needs --grpc HOST:PORT")
    return target.grpc


@pytest.fixture(scope="session")
def channel(grpc_address: str) -> Iterator[Any]:
    import grpc

    # No proxy from the environment, as above.
    with grpc.insecure_channel(grpc_address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=10)
        except grpc.FutureTimeoutError:
            pytest.fail(f"nothing speaks gRPC at {grpc_address}")
        yield channel


@pytest.fixture(scope="session")
def pb(grpc_address: str, load: Callable[[str], Any]) -> Any:
    """The messages of the protocol."""
    return load("kserve.protocol.grpc.grpc_predict_v2_pb2")


@pytest.fixture(scope="session")
def stub(channel: Any, load: Callable[[str], Any]) -> Any:
    return load("kserve.protocol.grpc.grpc_predict_v2_pb2_grpc").GRPCInferenceServiceStub(channel)


@pytest.fixture(scope="session")
def requests(pb: Any, target: ServerUnderTest) -> Requests:
    return Requests(pb, target.model)
