"""Rate limits: whose requests count together, what the others are told, and that memory stays bounded."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.access import limits
from predictors.access.addresses import Addresses, parse_networks
from predictors.access.limits import Limiter, Rate, parse_rate
from tests.predictors.access.test_access import ALICE, BOB, PREDICT, ROW, bearing, code, written
from tests.predictors.grpc.test_grpc import request
from tests.predictors.telemetry.test_metrics import samples, value
from tests.serving import in_thread, process

TWO_AN_HOUR: dict[str, Any] = {"rate_limit": Rate(1, 3600), "rate_burst": 2}


def statuses(server: Any, path: str, times: int, **options: Any) -> list[int]:
    return [server.post(path, ROW, **options).status_code for _ in range(times)]


def test_what_is_told_to_those_who_ask_too_often() -> None:
    with in_thread(None, rate_limit=Rate(3, 3600), model_name="often") as server:
        paths = ["/v1/models/often:predict", "/invocations", "/v2/models/often/infer"]
        assert server.post(paths[0], ROW).status_code == 200  # on the short way
        assert server.post(paths[1], {"inputs": [[91.5, 1.05, 41, 0.9]]}).status_code == 200
        assert server.post(f"{paths[0]}?long=way", ROW).status_code == 200
        for path in (*paths, *(f"{path}?long=way" for path in paths)):
            refused = server.post(path, ROW)
            assert refused.status_code == 429
            assert 1190 <= int(refused.headers["retry-after"]) <= 1200
            assert refused.headers["x-ratelimit-limit"] == "3"
            assert refused.headers["x-ratelimit-remaining"] == "0"
            assert 3590 <= int(refused.headers["x-ratelimit-reset"]) <= 3600
            text = "too many requests: a client may send 3 in 3600 s, and 3 at once"
            key = "message" if "invocations" in path else "error"
            assert refused.json()[key] == text
        assert refused.json() == {"error": text}
        for path in ("/health", "/metrics", "/schema", "/v2/models/often"):
            assert server.get(path).status_code == 200
        assert server.post("/v2/repository/models/often/load").status_code == 200
        metrics = samples(server)
        for protocol in ("v1", "v2", "invocations"):
            assert value(metrics, "model_requests_total", model_name="often", protocol=protocol, status="429") == 2


def test_http_and_grpc_count_together() -> None:
    with in_thread(None, **TWO_AN_HOUR, model_name="both") as server, grpc.insecure_channel(server.grpc) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        message = request()
        message.model_name = "both"
        assert server.predict(ROW).status_code == 200
        assert code(stub.ModelInfer, message)[0] == "OK"
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(message, timeout=20)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 3_590_000 <= int(dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"]) <= 3_600_000
        assert code(stub.ModelMetadata, pb.ModelMetadataRequest(name="both"))[0] == "OK"
        assert server.predict(ROW).status_code == 429
        metrics = samples(server)
        assert (
            value(metrics, "model_requests_total", model_name="both", protocol="grpc", status="RESOURCE_EXHAUSTED") == 1
        )


def test_what_leaves_the_short_way_is_charged_once() -> None:
    """Requests that are wrong, or too much for the engine, begin there."""
    with in_thread(None, rate_limit=Rate(4, 3600)) as server, grpc.insecure_channel(server.grpc) as channel:
        assert statuses(server, PREDICT[0], 1) == [200]
        assert server.predict({"instances": []}).status_code == 400
        assert server.predict({**ROW, "parameters": {"method": "predict_proba"}}).status_code == 200
        message = request()
        message.parameters["method"].string_param = "predict_proba"
        assert code(pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer, message)[0] == "OK"
        assert statuses(server, PREDICT[0], 1) == [429]


def test_each_token_has_a_rate_of_its_own(tmp_path: Path) -> None:
    callers = written(tmp_path / "callers", f"alice:{ALICE}", f"alice:{ALICE}-next", BOB, f"{BOB}-other")
    with in_thread(None, token_file=callers, **TWO_AN_HOUR) as server:
        assert statuses(server, PREDICT[0], 4) == [401] * 4  # these cost nobody anything
        assert statuses(server, PREDICT[0], 3, headers=bearing(ALICE)) == [200, 200, 429]
        assert statuses(server, PREDICT[0], 1, headers=bearing(f"{ALICE}-next")) == [429]  # the same name
        assert statuses(server, PREDICT[1], 3, headers=bearing(BOB)) == [200, 200, 429]
        assert statuses(server, PREDICT[0], 3, headers=bearing(f"{BOB}-other")) == [200, 200, 429]


def test_clients_behind_a_trusted_proxy() -> None:
    proxies = parse_networks("127.0.0.1, 10.0.0.0/8")
    with in_thread(None, **TWO_AN_HOUR, trusted_proxies=proxies) as server:

        def asked(told: str, times: int = 1, name: str = "X-Forwarded-For") -> list[int]:
            return statuses(server, PREDICT[0], times, headers={name: told})

        assert asked("198.51.100.1", 3) == [200, 200, 429]
        assert asked("198.51.100.2", 2) == [200, 200]
        assert asked("203.0.113.9, 198.51.100.1, 10.1.2.3") == [429]  # what is left of it may be a lie
        assert asked("198.51.100.9", 1, "Forwarded") == [200]  # of the proxy itself
        with grpc.insecure_channel(server.grpc) as channel:
            stub = pb_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError):
                stub.ModelInfer(request(), metadata=[("x-forwarded-for", "198.51.100.1")])
            stub.ModelInfer(request(), metadata=[("x-forwarded-for", "198.51.100.3")])


def test_nobody_else_is_believed() -> None:
    with in_thread(None, **TWO_AN_HOUR, trusted_proxies=parse_networks("10.0.0.0/8")) as server:
        codes = [statuses(server, PREDICT[0], 1, headers={"X-Forwarded-For": f"198.51.100.{n}"})[0] for n in range(3)]
        assert codes == [200, 200, 429]


@pytest.mark.parametrize(
    ("header", "told", "client"),
    [
        ("x-forwarded-for", "", "10.0.0.1"),
        ("x-forwarded-for", "1.2.3.4", "1.2.3.4"),
        ("x-forwarded-for", "9.9.9.9,1.2.3.4:5678, 10.0.0.2", "1.2.3.4"),
        ("x-forwarded-for", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("x-forwarded-for", "9.9.9.9, unknown, 10.0.0.2", "10.0.0.2"),
        ("x-forwarded-for", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("x-forwarded-for", "[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("x-forwarded-for", "::ffff:1.2.3.4", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4;proto=https, For=10.0.0.2", "1.2.3.4"),
        ("forwarded", 'for="[2001:db8::1]:80"', "2001:db8::/64"),
        ("forwarded", "for=_hidden", "10.0.0.1"),
        ("forwarded", "by=1.2.3.4", "10.0.0.1"),
    ],
)
def test_addresses(header: str, told: str, client: str) -> None:
    addresses = Addresses(parse_networks("10.0.0.0/8"), header)
    assert addresses.client("10.0.0.1", [(header.encode(), told.encode())]) == f"address {client}"
    assert addresses.client("::ffff:10.0.0.1", [(header.encode(), told.encode())]) == f"address {client}"
    assert addresses.client("7.7.7.7", [(header.encode(), told.encode())]) == "address 7.7.7.7"


@given(st.binary(max_size=60), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_any_header_gives_an_address(told: bytes, header: str) -> None:
    assert (
        Addresses(parse_networks("10.0.0.0/8"), header)
        .client("10.0.0.1", [(header.encode(), told)])
        .startswith("address ")
    )


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_bucket_fills_again(clock: Clock) -> None:
    limiter = Limiter(parse_rate("2/s"), 3)
    assert [limiter.charge("a").left for _ in range(3)] == [2, 1, 0]
    refused = limiter.charge("a")
    assert (round(refused.wait, 6), round(refused.reset, 6)) == (0.5, 1.5)
    clock.now += 0.49
    assert limiter.charge("a").wait > 0
    clock.now += 0.01
    assert limiter.charge("a").wait == 0
    assert limiter.charge("a").wait > 0
    clock.now += 100
    assert [limiter.charge("a").wait == 0 for _ in range(4)] == [True, True, True, False]
    assert limiter.charge("b").left == 2


@given(
    st.integers(1, 1000), st.sampled_from("smh"), st.integers(1, 50),
    st.lists(st.floats(0, 100, allow_subnormal=False), max_size=200),
)  # fmt: skip
def test_no_more_than_the_rate_and_the_burst(count: int, unit: str, burst: int, pauses: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        limiter = Limiter(parse_rate(f"{count}/{unit}"), burst)
        served = 0
        for pause in pauses:
            clock.now += pause
            charge = limiter.charge("client")
            served += charge.wait == 0
            if charge.wait:  # it is told the truth
                clock.now += charge.wait
                assert limiter.charge("client").wait < 1e-6
                served += 1
        assert served <= burst + (clock.now - 1000) * count / limiter.rate.seconds + 1e-3


def test_many_clients_cost_no_more_memory(clock: Clock) -> None:
    """Those who are not remembered have a full bucket; those who ask all the time are remembered."""
    limiter = Limiter(parse_rate("1/h"), 2)
    assert [limiter.charge("eager").wait > 0 for _ in range(3)] == [False, False, True]
    for number in range(3 * limits.SLOTS):
        limiter.charge(f"client {number}")
        if number % 1000 == 0:
            clock.now += 0.01
            assert limiter.charge("eager").wait > 0
    assert len(limiter.clients) == limits.SLOTS


def test_workers_limit_a_client_together(tmp_path: Path) -> None:
    with process(tmp_path, "--workers", "2", "--rate-limit", "20/h") as served:
        codes = []
        for _ in range(40):  # each on a connection of its own, which either worker may take
            codes.append(httpx.post(f"{served.running.url}{PREDICT[0]}", json=ROW).status_code)
        assert (codes.count(200), codes.count(429)) == (20, 20)
        assert "Traceback" not in served.log


def test_long_headers_are_not_kept() -> None:
    addresses = Addresses(parse_networks("10.0.0.0/8"), "x-forwarded-for")
    tracemalloc.start()
    for number in range(200):
        told = b"%d," % number + b"1.2.3.4," * 8000 + b"2.2.2.2"
        assert addresses.client("10.0.0.1", ((b"x-forwarded-for", told),)) == "address 2.2.2.2"
        assert addresses.client("3.3.3.3", ((b"x-forwarded-for", told),)) == "address 3.3.3.3"
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2_000_000
