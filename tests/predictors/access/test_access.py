"""Tokens: who may predict, load, look; over HTTP's two ways and gRPC; and that files are rotated."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.access.reloading_file import UnusableFile
from predictors.access.tokens import MIN_TOKEN, parse
from predictors.serving.startup import read_settings
from tests.predictors.grpc.test_grpc import request
from tests.predictors.telemetry.test_metrics import samples, value
from tests.serving import Running, in_thread, wait_for

ROW = {"instances": [[91.5, 1.05, 41, 0.9]]}
ALICE, BOB, OPS, SCRAPER = (f"{name}-0123456789abcdef" for name in ("alice", "bob", "ops", "scraper"))
SECRETS = [ALICE, BOB, OPS, SCRAPER]
PREDICT = ["/v1/models/model:predict", "/v1/models/model:predict?long=way"]
REALM = 'Bearer realm="mlflow-kserve"'


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def written(file: Path, *lines: str) -> str:
    """As Kubernetes does it: the name leads to another file from one moment to the next."""
    new = file.with_suffix(".new")
    new.write_text("\n".join(lines))
    new.replace(file)
    return str(file)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tokens")
    callers = written(
        folder / "callers", "# who calls", f"alice:{ALICE}", f"bob:sha256:{hashlib.sha256(BOB.encode()).hexdigest()}"
    )
    admins = written(folder / "admins", "", OPS)
    with in_thread(None, token_file=callers, admin_token_file=admins) as server:
        yield server


@pytest.mark.parametrize("path", PREDICT)
def test_predictions_need_a_token(guarded: Running, path: str) -> None:
    for token in (ALICE, BOB, OPS):
        assert guarded.post(path, ROW, headers=bearing(token)).status_code == 200
    assert guarded.post(path, ROW, headers={"authorization": f"bearer  {ALICE}"}).status_code == 200
    missing = guarded.post(path, ROW)
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, REALM)
    assert missing.json() == {"error": "this route needs a token: send it as 'Authorization: Bearer …'"}
    for header in ("Basic YTpi", "Bearer", ALICE):
        other = guarded.post(path, ROW, headers={"Authorization": header})
        assert (other.status_code, other.headers["www-authenticate"]) == (401, REALM)
    for token in (ALICE[:-1], ALICE + "x", "x", "ü", "a.b.c", f"{ALICE} {ALICE}"):
        wrong = guarded.post(path, ROW, headers={b"Authorization": f"Bearer {token}".encode()})
        assert wrong.status_code == 401
        assert wrong.headers["www-authenticate"].startswith(f'{REALM}, error="invalid_token"')
    twice = guarded.post(path, ROW, headers=[("Authorization", f"Bearer {ALICE}"), ("Authorization", f"Bearer {BOB}")])
    assert (twice.status_code, twice.headers["www-authenticate"]) == (400, f'{REALM}, error="invalid_request"')
    assert guarded.post(f"{path.split('?')[0]}?access_token={ALICE}&token={ALICE}", ROW).status_code == 401


def test_the_error_has_the_shape_of_the_protocol(guarded: Running) -> None:
    reply = guarded.post("/invocations", {"inputs": [1]})
    assert (reply.status_code, reply.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert guarded.infer({}).json().keys() == {"error"}


def test_the_connection_stays_open_after_a_refusal(guarded: Running) -> None:
    with httpx.Client(base_url=guarded.url) as client:
        streams = set()
        for headers in ({}, bearing(ALICE), {}, bearing(ALICE)):
            reply = client.post(PREDICT[0], json=ROW, headers=headers)
            streams.add(reply.extensions["network_stream"].get_extra_info("client_addr"))
            assert reply.status_code == (200 if headers else 401)
        assert len(streams) == 1


def test_a_body_is_not_read_for_those_who_may_not_come_in(guarded: Running) -> None:
    """Before it is known how large it is."""
    assert guarded.client.post(PREDICT[1], content=b"x" * 300_000, headers={"Content-Type": "text/plain"}).status_code == 401  # fmt: skip


def test_operators_routes(guarded: Running) -> None:
    for path in ("load", "unload", "load"):
        target = f"/v2/repository/models/model/{path}"
        assert guarded.post(target).status_code == 401
        assert guarded.post(target, headers=bearing("x" * 20)).status_code == 401
        refused = guarded.post(target, headers=bearing(ALICE))
        assert refused.status_code == 403
        assert refused.headers["www-authenticate"] == f'{REALM}, error="insufficient_scope"'
        assert guarded.post(target, headers=bearing(OPS)).status_code == 200
    assert guarded.post("/v2/repository/models/model/load/", headers=bearing(ALICE)).status_code == 403


def test_what_is_open_and_what_is_not(guarded: Running) -> None:
    for path in ("/", "/health", "/v2/health/live", "/v2/health/ready", "/ping", "/metrics", "/v1/models", "/v2",
                 "/v1/models/model", "/v2/models/model/ready", "/docs", "/docs/start.js"):  # fmt: skip
        assert guarded.get(path).status_code == 200, path
        assert guarded.client.head(path).status_code == 200, path
    for path in ("/schema", "/v2/models/model", "/v2/models/model/versions/1"):
        assert guarded.get(path).status_code == guarded.client.head(path).status_code == 401, path
        assert guarded.get(path, headers=bearing(ALICE)).status_code == 200, path
    assert guarded.post("/v2/repository/index").status_code == 401


def test_the_document_says_more_to_those_who_may_read_it(guarded: Running) -> None:
    public, full = guarded.get("/openapi.json"), guarded.get("/openapi.json", headers=bearing(ALICE))
    assert public.json()["components"]["securitySchemes"]["bearer"] == {"type": "http", "scheme": "bearer"}
    assert "temperature" not in public.text
    assert "temperature" in full.text
    assert guarded.get("/openapi.json", headers=bearing("x" * 20)).text == public.text


def code(call: Any, message: Any, token: str | None = None) -> tuple[str, str]:
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    try:
        call(message, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", ""


def test_grpc(guarded: Running) -> None:
    with grpc.insecure_channel(guarded.grpc) as channel:
        stub, health = pb_grpc.GRPCInferenceServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        long_one = request()
        long_one.parameters["method"].string_param = "predict_proba"
        for message in (request(), long_one):
            for token in (ALICE, BOB, OPS):
                assert code(stub.ModelInfer, message, token)[0] == "OK"
            assert code(stub.ModelInfer, message) == (
                "UNAUTHENTICATED",
                "this route needs a token: send it as 'Authorization: Bearer …'",
            )
            assert code(stub.ModelInfer, message, "x" * 20) == ("UNAUTHENTICATED", "the token is not known")
        about = pb.ModelMetadataRequest(name="model")
        assert code(stub.ModelMetadata, about)[0] == "UNAUTHENTICATED"
        assert code(stub.ModelMetadata, about, ALICE)[0] == "OK"
        for act, message in (
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="model")),
            (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name="model")),
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="model")),
        ):
            assert code(act, message)[0] == "UNAUTHENTICATED"
            assert code(act, message, ALICE)[0] == "PERMISSION_DENIED"
            assert code(act, message, OPS)[0] == "OK"
        assert code(stub.ServerLive, pb.ServerLiveRequest())[0] == "OK"
        assert code(stub.ModelReady, pb.ModelReadyRequest(name="model"))[0] == "OK"
        assert code(health.Check, health_pb2.HealthCheckRequest())[0] == "OK"
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as refused:
            next(iter(reflection.ServerReflectionInfo(iter([ask]))))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        told = reflection.ServerReflectionInfo(iter([ask]), metadata=[("authorization", f"Bearer {ALICE}")])
        assert next(iter(told)).list_services_response.service


def test_a_refused_message_over_grpc_is_not_taken_in(guarded: Running) -> None:
    """The refusal comes although the message is larger than any that is accepted."""
    with grpc.insecure_channel(guarded.grpc, [("grpc.max_send_message_length", -1)]) as channel:
        large = pb.ModelInferRequest(model_name="model", raw_input_contents=[b"\0" * (70 << 20)])
        assert code(pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer, large)[0] == "UNAUTHENTICATED"
        assert code(pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer, request(), ALICE)[0] == "OK"


def test_refusals_are_counted_and_nothing_tells_a_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "predictors")
    callers = written(tmp_path / "callers", f"alice:{ALICE}")
    said = []
    with in_thread(None, token_file=callers, model_name="refused", access_log=False) as server:
        for path in ("/v1/models/refused:predict", "/v1/models/refused:predict?x=1", "/invocations"):
            said.append(server.post(path, ROW).text)
            said.append(server.post(path, ROW, headers=bearing(BOB)).text)
            assert server.post(path, ROW, headers=bearing(ALICE)).status_code == 200
        said.append(server.post("/v2/repository/models/refused/load", headers=bearing(ALICE)).text)
        with grpc.insecure_channel(server.grpc) as channel:
            stub = pb_grpc.GRPCInferenceServiceStub(channel)
            message = pb.ModelInferRequest(model_name="refused")
            said.append(code(stub.ModelInfer, message, BOB)[1])
        metrics = samples(server)
        counts = {("v1", "401"): 4, ("invocations", "401"): 2, ("v1", "200"): 2, ("grpc", "UNAUTHENTICATED"): 1}
        for (protocol, status), count in counts.items():
            assert (
                value(metrics, "model_requests_total", model_name="refused", protocol=protocol, status=status) == count
            )
        said.append(server.get("/metrics").text)
    written_down = "\n".join([*said, caplog.text, *capsys.readouterr()])
    assert "refused a request (predict) from 127.0.0.1: 401 the token is not known" in caplog.text
    lines = [record for record in caplog.records if (record.name, record.levelname) == ("predictors.gate", "INFO")]
    assert len(lines) == 1  # of the eight
    for secret in SECRETS:
        assert secret not in written_down


def test_refusals_show_in_the_access_log_under_their_ids(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "predictors.access")
    with in_thread(None, token_file=written(tmp_path / "callers", ALICE), access_log=True) as server:
        for number, path in enumerate(PREDICT):
            reply = server.post(path, ROW, headers={"X-Request-Id": f"refused-{number}"})
            assert (reply.status_code, reply.headers["x-request-id"]) == (401, f"refused-{number}")
        with grpc.insecure_channel(server.grpc) as channel:
            assert code(pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer, request())[0] == "UNAUTHENTICATED"
    lines = [one.getMessage() for one in caplog.records if one.name == "predictors.access"]
    assert sum("'/v1/models/model:predict' 401" in line for line in lines) == 2
    assert sum("ModelInfer' UNAUTHENTICATED" in line for line in lines) == 1


def test_the_hook_of_the_registry_needs_no_token(guarded: Running) -> None:
    assert "--webhook-secret-file" in guarded.post("/hooks/mlflow", {}).json()["error"]
    refused = guarded.post("/v2/repository/models/model/revert", headers=bearing(ALICE))
    assert refused.status_code == 403


def test_operators_routes_are_closed_to_all_until_somebody_may_use_them(tmp_path: Path) -> None:
    with in_thread(None, token_file=written(tmp_path / "callers", ALICE)) as server:
        for headers in ({}, bearing(ALICE)):
            refused = server.post("/v2/repository/models/model/unload", headers=headers)
            assert refused.status_code == 403
            assert "--admin-token-file or --jwt-admin-scope" in refused.json()["error"]
        with grpc.insecure_channel(server.grpc) as channel:
            act = pb_grpc.GRPCInferenceServiceStub(channel).RepositoryModelUnload
            assert code(act, pb.RepositoryModelUnloadRequest(model_name="model"), ALICE)[0] == "PERMISSION_DENIED"
        assert server.get("/health/ready").status_code == 200


def test_only_operators_need_tokens(tmp_path: Path) -> None:
    with in_thread(None, admin_token_file=written(tmp_path / "admins", OPS)) as server:
        assert server.predict(ROW).status_code == server.get("/schema").status_code == 200
        assert server.post("/v2/repository/models/model/load").status_code == 401
        assert server.post("/v2/repository/models/model/load", headers=bearing(OPS)).status_code == 200
        assert "temperature" in server.get("/openapi.json").text


def test_without_any_of_it_all_is_open(demo: Running) -> None:
    assert demo.post("/v2/repository/models/model/load").status_code == 200
    assert "securitySchemes" not in demo.get("/openapi.json").text


def test_health_and_metrics_with_tokens_of_their_own(tmp_path: Path) -> None:
    files = {
        "token_file": written(tmp_path / "callers", ALICE),
        "admin_token_file": written(tmp_path / "admins", OPS),
        "probe_token_file": written(tmp_path / "probers", f"prometheus:{SCRAPER}"),
    }
    protect = frozenset({"metrics", "health"})
    with in_thread(None, **files, protect=protect, client_options={"headers": bearing(SCRAPER)}) as server:
        tokens = ("", ALICE, SCRAPER, OPS)
        statuses = {
            path: [httpx.get(server.url + path, headers=bearing(token)).status_code for token in tokens]
            for path in ("/metrics", "/health/live", "/v2/models/model/ready", "/schema")
        }
        assert statuses == {
            "/metrics": [401, 403, 200, 200],
            "/health/live": [401, 403, 200, 200],
            "/v2/models/model/ready": [401, 403, 200, 200],
            "/schema": [401, 200, 403, 200],
        }
        assert server.predict(ROW).status_code == 403  # with the scraper's
        with grpc.insecure_channel(server.grpc) as channel:
            check, message = health_pb2_grpc.HealthStub(channel).Check, health_pb2.HealthCheckRequest()
            answers = [code(check, message, token)[0] for token in (None, ALICE, SCRAPER)]
            assert answers == ["UNAUTHENTICATED", "PERMISSION_DENIED", "OK"]


def test_metrics_for_callers(tmp_path: Path) -> None:
    with in_thread(None, token_file=written(tmp_path / "callers", ALICE), protect=frozenset({"metrics"})) as server:
        assert [server.get("/metrics", headers=h).status_code for h in ({}, bearing(ALICE))] == [401, 200]
        assert server.get("/health").status_code == 200


def test_tokens_are_rotated_and_a_broken_file_locks_nobody_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is a link in a folder that is a link, as in a mounted secret."""
    caplog.set_level(logging.INFO, "predictors")
    for version, token in (("one", ALICE), ("two", BOB)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tokens").write_text(f"{token}\n")
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "tokens").symlink_to("data/tokens")
    with in_thread(None, token_file=str(tmp_path / "tokens")) as server:

        def status(token: str) -> int:
            return server.post(PREDICT[0], ROW, headers=bearing(token)).status_code

        assert (status(ALICE), status(BOB)) == (200, 401)
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(tmp_path / "data")
        wait_for(lambda: status(BOB) == 200, seconds=30)
        assert status(ALICE) == 401
        for breaks in (lambda file: file.write_text("short\n"), lambda file: file.write_text(""), Path.unlink):
            broken = caplog.text.count("stays in force")
            breaks(tmp_path / "two" / "tokens")
            wait_for(lambda: status(BOB) and caplog.text.count("stays in force") > broken, seconds=30)  # noqa: B023
            assert (status(ALICE), status(BOB)) == (401, 200)
        (tmp_path / "two" / "tokens").write_text(f"{ALICE}\n{BOB}\n")
        wait_for(lambda: status(ALICE) == status(BOB) == 200, seconds=30)
    for secret in SECRETS:
        assert secret not in caplog.text


TOKENS = st.text("abcXYZ019-._~+/", min_size=MIN_TOKEN, max_size=60).map(lambda text: text + "=")
NAMES = st.text("abc é-:", max_size=8).filter(lambda name: not name.endswith("sha256"))


@given(st.lists(st.tuples(NAMES, TOKENS, st.booleans()), min_size=1, unique_by=lambda one: one[1]))
def test_any_file_of_tokens(entries: list[tuple[str, str, bool]]) -> None:
    def line(name: str, token: str, hashed: bool) -> str:
        name = name.replace(":", "")
        text = "sha256:" + hashlib.sha256(token.encode()).hexdigest() if hashed else token
        return f"  {name}:{text}\t" if name.strip() else text

    known = parse("\r\n# comment\r\n\r\n".join(line(*entry) for entry in entries).encode())
    assert set(known) == {hashlib.sha256(token.encode()).digest() for _, token, _ in entries}


@given(st.binary(max_size=200))
def test_no_content_breaks_the_parser_or_shows_in_what_it_says(content: bytes) -> None:
    said = ""
    try:
        assert parse(content)
    except UnusableFile as error:
        said = str(error)
    assert not any(word in said for word in content.decode("latin-1").split() if len(word) > 16)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it contains no token"),
        ("# none\n", "it contains no token"),
        ("short", "line 1: a token has at least 16 characters"),
        (f"{ALICE}\nalice:{ALICE}", "line 2 repeats a token"),
        ("a token with blanks", "line 1: expected token, name:token or name:sha256:digest"),
        ("alice:sha256:abcdefabcdefabcdef", "line 1: expected 64 hexadecimal digits after sha256:"),
        (None, "No such file or directory"),
    ],
)
@pytest.mark.parametrize("flag", ["--token-file", "--admin-token-file"])
def test_a_bad_file_ends_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: str, flag: str
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    assert words in ended(capsys, flag, str(file))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--protect=metrics"], "--protect needs --token-file, --probe-token-file or --jwt-jwks"),
        (["--protect=all"], "--protect: 'all' is not usable: expected some of health, metrics"),
        (["--rate-limit=fast"], "--rate-limit: 'fast' is not usable: expected a rate such as 100/s"),
        (["--rate-limit=0/s"], "expected a rate"),
        (["--rate-limit=1/d"], "expected a rate"),
        (["--rate-burst=3"], "--rate-burst needs --rate-limit"),
        (["--trusted-proxies=10.0.0.0/8"], "--trusted-proxies needs --rate-limit"),
        (["--rate-limit=1/s", "--trusted-proxies=10.0.0.0/99"], "expected addresses or networks"),
        (["--jwt-issuer=x"], "belong together: --jwt-jwks, --jwt-audience is missing"),
        (["--jwt-admin-scope=x"], "--jwt-admin-scope needs --jwt-jwks"),
    ],
)
def test_settings_that_make_no_sense(capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    assert words in ended(capsys, *flags)


def test_tokens_of_probes_that_open_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--probe-token-file opens nothing as long as --protect names neither health nor metrics"
    assert words in ended(capsys, "--probe-token-file", written(tmp_path / "probers", SCRAPER))


def ended(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    with pytest.raises(SystemExit) as end:
        read_settings(flags, {})
    assert end.value.code == 2
    said: str = capsys.readouterr().err
    assert said.count("\n") == 2  # one line, and where there is help
    return said


def test_your_own_hooks_are_behind_the_gate(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    """A model without a short way."""
    callers = written(tmp_path / "callers", ALICE)
    with in_thread(zoo("pyfunc-no-signature"), token_file=callers) as server:
        assert server.predict(ROW).status_code == 401
        assert server.post(PREDICT[0], ROW, headers=bearing(ALICE)).status_code != 401
