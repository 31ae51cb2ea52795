"""Request ids and trace contexts: what a caller sends comes back if it is sound, and can break nothing if it is not."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.telemetry import ids
from tests.predictors.pipeline.test_errors import GOOD, INVOCATIONS, V1, V2, binary_request, tensor
from tests.predictors.rest.test_connection import Raw, slow, text
from tests.serving import Running

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MADE = re.compile(r"[0-9a-f]{16}-[0-9a-f]+")
MADE_LINES = re.compile(rb"x-request-id: [0-9a-f]{16}-[0-9a-f]+\r\n")


@pytest.fixture
def raw(demo: Running) -> Iterator[Raw]:
    connection = Raw(demo)
    yield connection
    connection.close()


# -- what is sound ------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
@example(b"")
@example(b"fine")
@example(b"two words")
@example(b"a\r\nset-cookie: b")
@example(b"x" * 128)
@example(b"x" * 129)
def test_any_request_id_gives_one_line(value: bytes) -> None:
    sound = 1 <= len(value) <= 128 and all(0x21 <= one <= 0x7E for one in value)
    lines = ids.ids_of([(b"x-request-id", value)]).lines
    assert lines == b"x-request-id: %b\r\n" % value if sound else MADE_LINES.fullmatch(lines)


@given(st.one_of(st.binary(max_size=80), st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")))
def test_any_traceparent_gives_one_of_version_00_or_none(value: bytes | str) -> None:
    sent = value if isinstance(value, bytes) else value.encode()
    normalized = ids.normalized(sent)
    assert normalized == b"" or re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", normalized)
    if normalized:
        assert normalized[2:] == sent.strip(b" \t")[2:55]


@pytest.mark.parametrize(
    ("sent", "accepted"),
    [
        (PARENT, PARENT),
        (PARENT[:-2] + "00", PARENT[:-2] + "00"),
        (f" {PARENT}\t", PARENT),
        ("01" + PARENT[2:], PARENT),  # later versions begin like the first one
        ("cc" + PARENT[2:] + "-more", PARENT),
        ("cc" + PARENT[2:] + "more", ""),
        (PARENT + "-more", ""),
        ("ff" + PARENT[2:], ""),
        (PARENT.upper(), ""),
        (PARENT[:-1], ""),
        ("00-" + "0" * 32 + PARENT[35:], ""),
        (PARENT[:36] + "0" * 16 + PARENT[52:], ""),
        (PARENT.replace("-", "_"), ""),
        ("", ""),
    ],
)
def test_traceparents(sent: str, accepted: str) -> None:
    assert ids.normalized(sent.encode()).decode() == accepted


def test_two_traceparents_are_none() -> None:
    assert ids.valid_ids([(b"traceparent", PARENT.encode())] * 2) == (b"", b"")


def test_ids_of_a_fork_are_others() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, ids.new_id())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 100).partition(b"-")[0] != ids.new_id().partition(b"-")[0]


# -- over HTTP ----------------------------------------------------------------------------------------------------------


BINARY_BODY, BINARY_HEADERS = binary_request(32, bytes(32))
REQUESTS = {
    "V1": text(),
    "V1 on the long way": slow(),
    "V1 that leaves the short way": text({"instances": [[1]]}),
    "V2": text(tensor(), V2),
    "V2 binary": text(BINARY_BODY, V2, BINARY_HEADERS),
    "invocations": text(GOOD, INVOCATIONS),
    "broken JSON": text(b"{"),
    "unknown model": text(GOOD, "/v1/models/other:predict"),
    "unknown path": text(GOOD, "/nowhere"),
    "wrong verb": text(GOOD, V1, verb="PUT"),
    "too large": text(b" " * 300_000),
    "wrong type": text(b"x", V1, {"Content-Type": "text/csv"}),
    "health": text(b"", "/v2/health/ready", {}, verb="GET"),
    "metrics": text(b"", "/metrics", {}, verb="GET"),
}
STATUS = {"broken JSON": 400, "V1 that leaves the short way": 400, "unknown model": 404, "unknown path": 404,
          "wrong verb": 405, "too large": 413, "wrong type": 415}  # fmt: skip


def sent_with(data: bytes, *headers: str) -> bytes:
    head, _, body = data.partition(b"\r\n\r\n")
    return b"\r\n".join([head, *(line.encode("latin-1") for line in headers), b"", body])


@pytest.mark.parametrize("what", REQUESTS)
def test_every_reply_has_an_id(demo: Running, what: str) -> None:
    def ask(*headers: str) -> tuple[int, dict[str, str]]:
        connection = Raw(demo)
        status, reply_headers, _ = connection.ask(sent_with(REQUESTS[what], *headers))
        connection.close()
        return status, reply_headers

    status, own = ask()
    assert status == STATUS.get(what, 200)
    assert MADE.fullmatch(own["x-request-id"])
    assert "traceparent" not in own
    assert ask()[1]["x-request-id"] != own["x-request-id"]
    status, echoed = ask("X-Request-ID: mine/1", f"Traceparent: {PARENT}")
    assert status == STATUS.get(what, 200)
    assert (echoed["x-request-id"], echoed["traceparent"]) == ("mine/1", PARENT)


@pytest.mark.parametrize("way", [text, slow])
@pytest.mark.parametrize("value", ["x" * 129, "two words", "tab\tbed", "nönascii", ""])
def test_what_is_not_sound_is_replaced(raw: Raw, way: Any, value: str) -> None:
    status, headers, body = raw.ask(sent_with(way(), f"x-request-id: {value}", "traceparent: 00-xyz"))
    assert status == 200
    assert json.loads(body)["predictions"]
    assert MADE.fullmatch(headers["x-request-id"])
    assert "traceparent" not in headers


def test_one_connection_has_many_ids(raw: Raw) -> None:
    first = raw.ask(sent_with(text(), "x-request-id: first"))[1]["x-request-id"]
    others = [raw.ask(data)[1]["x-request-id"] for data in (text(), slow(), text())]
    assert first == "first"
    assert len({first, *others}) == 4


def test_the_id_of_v2_is_another(raw: Raw) -> None:
    _, headers, body = raw.ask(sent_with(text({**tensor(), "id": "of v2"}, V2), "x-request-id: of-http"))
    assert (headers["x-request-id"], json.loads(body)["id"]) == ("of-http", "of v2")


# -- over gRPC ----------------------------------------------------------------------------------------------------------


def request(**changes: Any) -> Any:
    message = pb.ModelInferRequest(**{"model_name": "model", **changes})
    message.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend([91.5, 1.05, 41.0, 0.9])
    return message


def test_calls_have_ids(demo: Running) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        infer = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer

        def known_by(*metadata: tuple[str, str], **changes: Any) -> dict[str, str]:
            reply, call = infer.with_call(request(**changes), metadata=metadata)
            assert reply.outputs
            return dict(call.initial_metadata())

        own = known_by()
        assert MADE.fullmatch(own["x-request-id"])
        assert known_by()["x-request-id"] != own["x-request-id"]
        sent = (("x-request-id", "mine"), ("traceparent", PARENT))
        assert known_by(*sent) == {**own, "x-request-id": "mine", "traceparent": PARENT}
        assert MADE.fullmatch(known_by(("x-request-id", "two words"))["x-request-id"])
        with pytest.raises(grpc.RpcError) as error:
            infer(request(model_name="other"), metadata=sent)
        failed = dict(error.value.initial_metadata() or ()) | dict(error.value.trailing_metadata())
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert (failed["x-request-id"], failed["traceparent"]) == ("mine", PARENT)
