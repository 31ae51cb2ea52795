"""TLS: HTTPS and gRPC with the same certificate, renewed while the server runs."""

from __future__ import annotations

import concurrent.futures
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.serving.startup import read_settings
from tests.certificates import Authority
from tests.predictors.grpc.test_grpc import request
from tests.serving import Running, in_thread, process, wait_for

ROW = {"instances": [[91.5, 1.05, 41, 0.9]]}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[Running]:
    certificate, key = authority.issue()
    options = {"verify": authority.trusted()}
    with in_thread(None, ssl_certfile=str(certificate), ssl_keyfile=str(key), client_options=options) as server:
        yield server


def credentials(authority: Authority, *pair: Path) -> grpc.ChannelCredentials:
    key, chain = (pair[1].read_bytes(), pair[0].read_bytes()) if pair else (None, None)
    return grpc.ssl_channel_credentials(authority.file.read_bytes(), key, chain)


def test_many_requests_on_one_connection_and_many_connections(secure: Running, authority: Authority) -> None:
    expected = secure.predict(ROW).json()

    def ask(number: int) -> None:
        with httpx.Client(base_url=secure.url, verify=authority.trusted()) as client:
            for index in range(20):
                path = "/v1/models/model:predict" + ("?long=way" if index % 3 == number % 3 else "")
                assert client.post(path, json=ROW).json() == expected
            assert client.post("/v1/models/model:predict", json={"instances": []}).status_code == 400
            assert client.post("/v1/models/model:predict", json=ROW).json() == expected

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, number) for number in range(8)]:
            done.result()


def test_a_large_body_and_a_large_reply(secure: Running) -> None:
    many = {"instances": [ROW["instances"][0]] * 20_000}
    assert len(secure.predict(many).json()["predictions"]) == 20_000


def test_pipelined_requests(secure: Running, authority: Authority) -> None:
    body = json.dumps(ROW).encode()
    one = b"POST /v1/models/model:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    one += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    port = int(secure.url.rpartition(":")[2])
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    with authority.trusted().wrap_socket(plain, server_hostname="localhost") as connection:
        connection.sendall(one * 5)
        read = b""
        while read.count(b'"predictions"') < 5:
            read += connection.recv(65536)
    assert read.count(b"HTTP/1.1 200 OK") == 5


def test_grpc_takes_the_same_certificate(secure: Running, authority: Authority) -> None:
    with grpc.secure_channel(secure.grpc, credentials(authority)) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        calls = [stub.ModelInfer.future(request(id=str(number))) for number in range(200)]
        assert [call.result(20).id for call in calls] == [str(number) for number in range(200)]


def test_large_messages_over_grpc(secure: Running, authority: Authority) -> None:
    rows = np.tile([91.5, 1.05, 41.0, 0.9], (100_000, 1))
    message = pb.ModelInferRequest(model_name="model", raw_input_contents=[rows.tobytes()])
    message.inputs.add(name="x", datatype="FP64", shape=rows.shape)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(secure.grpc, credentials(authority), options) as channel:
        reply = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message)
    assert len(np.frombuffer(reply.raw_output_contents[0], np.int64)) == 100_000


TRITON = """
import ssl, sys
import numpy as np
import tritonclient.grpc, tritonclient.http
http, grpc, authority = sys.argv[1:]
clients = [
    (tritonclient.grpc, {"url": grpc, "ssl": True, "root_certificates": authority}),
    (tritonclient.http, {"url": http, "ssl": True, "ssl_context_factory": lambda: ssl.create_default_context(cafile=authority)}),
]
for module, options in clients:
    tensor = module.InferInput("x", [1, 4], "FP64")
    tensor.set_data_from_numpy(np.array([[91.5, 1.05, 41.0, 0.9]]))
    print(module.InferenceServerClient(**options).infer("model", [tensor]).as_numpy("predictions").tolist())
"""


def test_tritons_clients(secure: Running, authority: Authority) -> None:
    """In a process of their own: they define the same protobuf messages as kserve."""
    addresses = [secure.url.removeprefix("https://"), secure.grpc, str(authority.file)]
    done = subprocess.run([sys.executable, "-c", TRITON, *addresses], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[1]\n[1]\n", done.stderr


def test_those_who_speak_no_tls_are_no_trouble(secure: Running) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(secure.url.replace("https", "http"), timeout=20)
    with grpc.insecure_channel(secure.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        pb_grpc.GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=20)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert secure.predict(ROW).status_code == 200


def serial(address: str) -> str:
    host, port = address.split(":")
    return ssl.get_server_certificate((host, int(port)), timeout=20)


def test_a_renewed_certificate_counts_for_new_connections(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue()
    options = {"verify": authority.trusted()}
    with in_thread(None, ssl_certfile=str(certificate), ssl_keyfile=str(key), client_options=options) as server:
        http = server.url.removeprefix("https://")
        first = serial(http)
        assert serial(server.grpc) == first
        key.write_text("half of it")
        with pytest.raises(AssertionError):
            wait_for(lambda: serial(http) != first, seconds=1.5)
        authority.issue()
        wait_for(lambda: serial(http) != first, seconds=60)
        wait_for(lambda: serial(server.grpc) == serial(http), seconds=60)
        assert serial(http) == certificate.read_text()
        with grpc.secure_channel(server.grpc, credentials(authority)) as channel:
            assert pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request()).model_name == "model"
        assert server.predict(ROW).status_code == 200


def test_clients_show_certificates_where_that_is_asked_for(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    certificate, key = authority.issue()
    mine, theirs = authority.issue("client"), stranger.issue("another")
    context = authority.trusted()
    context.load_cert_chain(*map(str, mine))
    files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key), "ssl_ca_certs": str(authority.file)}
    with in_thread(None, client_options={"verify": context}, **files) as server:
        assert server.predict(ROW).status_code == 200
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            httpx.get(f"{server.url}/health", verify=authority.trusted(), timeout=20)
        for pair, code in ((mine, "OK"), (theirs, "UNAVAILABLE"), ((), "UNAVAILABLE")):
            with grpc.secure_channel(server.grpc, credentials(authority, *pair)) as channel:
                call = pb_grpc.GRPCInferenceServiceStub(channel).ServerLive.future(pb.ServerLiveRequest(), timeout=20)
                assert call.code().name == code


def test_the_port_of_https(authority: Authority, tmp_path: Path) -> None:
    certificate, key = map(str, authority.issue("port"))
    environ = {"KSERVE_TLS_CERT_FILE": certificate, "KSERVE_TLS_KEY_FILE": key}
    assert read_settings([], environ).http_port == 8443
    assert read_settings(["--http_port=8080"], environ).http_port == 8080
    assert read_settings([], {}).http_port == 8080


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("alone", "--ssl-certfile and --ssl-keyfile belong together"),
        ("missing", "No such file or directory"),
        ("swapped", "expected a certificate and its key in PEM"),
        ("mismatch", "the key is not that of the certificate"),
        ("encrypted", "the key is encrypted"),
        ("authorities", "authorities.pem: expected certificates in PEM"),
        ("authorities alone", "--ssl-ca-certs needs --ssl-certfile"),
    ],
)
def test_bad_certificates_end_the_start(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, words: str
) -> None:
    certificate, key = authority.issue("start", password=b"secret" if case == "encrypted" else None)
    other = authority.issue("other")[1]
    (tmp_path / "authorities.pem").write_text("nothing")
    flags = {
        "alone": [f"--ssl_certfile={certificate}"],
        "missing": [f"--ssl-certfile={certificate}", f"--ssl-keyfile={tmp_path / 'none'}"],
        "swapped": [f"--ssl-certfile={key}", f"--ssl-keyfile={certificate}"],
        "mismatch": [f"--ssl-certfile={certificate}", f"--ssl-keyfile={other}"],
        "encrypted": [f"--ssl-certfile={certificate}", f"--ssl-keyfile={key}"],
        "authorities": [f"--ssl-certfile={certificate}", f"--ssl-keyfile={key}",
                        f"--ssl-ca-certs={tmp_path / 'authorities.pem'}"],
        "authorities alone": [f"--ssl-ca-certs={authority.file}"],
    }[case]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        read_settings(flags, {})
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--ssl-" in said
    assert words in said


def test_a_process_with_workers_serves_https(authority: Authority, tmp_path: Path) -> None:
    certificate, key = map(str, authority.issue("workers"))
    flags = ["--workers", "2", "--ssl-certfile", certificate, "--ssl-keyfile", key]
    with process(tmp_path, *flags, ready=False) as served:
        url = served.running.url.replace("http:", "https:")

        def ready() -> bool:
            try:
                return httpx.get(f"{url}/v2/health/ready", verify=authority.trusted()).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(ready, lambda: served.process.poll() is not None and served.log)
        assert httpx.post(f"{url}/v1/models/model:predict", json=ROW, verify=authority.trusted()).status_code == 200
        with grpc.secure_channel(served.running.grpc, credentials(authority)) as channel:
            assert pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request()).model_name == "model"
        with pytest.raises(httpx.TransportError):
            httpx.get(url.replace("https:", "http:") + "/health", timeout=20)
        assert served.terminate() == 0
        assert "Traceback" not in served.log
