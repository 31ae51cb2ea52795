"""Feast's own feature server, also when it is ended, held up or wrong; and servers and proxies that answer otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from loadtest.peers.ports import free_port
from predictors.features.demo import SERVICE
from predictors.features.remote import RemoteStore
from predictors.features.resilience import ResilientStore
from predictors.features.store import Catalogue, FeastError, FeastRefused, FeastUnavailable, FeatureStatus
from tests.http_server import QuietHandler
from tests.predictors.features.feast import FeatureServer, feast_values, names_of, opened
from tests.serving import wait_for

FOUND, NULL, MISSING = FeatureStatus.FOUND, FeatureStatus.NULL, FeatureStatus.MISSING
KEYS = ("driver_id", "customer_id")
ROWS: dict[str, list[Any]] = {
    "driver_id": [1001, 1003, 1004, 9, 1002],
    "customer_id": ["ada", "grace", "nobody", "alan", "ada"],
    "distance": [1.0, 2.0, 3.0, 4.0, 5.0],
}
TRIPS = {"driver_stats__trips": [12, None, 3, None, 7]}


def remote(url: str, service: str | None = SERVICE, **options: Any) -> AbstractAsyncContextManager[RemoteStore]:
    return opened(RemoteStore(url, service, **{"keys": KEYS, **options}))


class TestFeatureServer:
    def test_it_is_found_out_what_there_is(self, feature_server: FeatureServer) -> None:
        async def run() -> Catalogue:
            async with remote(feature_server.url) as store:
                return store.catalogue

        catalogue = asyncio.run(run())
        assert {one.full_name: one.keys for one in catalogue.features} == {
            **dict.fromkeys(
                (
                    f"driver_stats__{name}"
                    for name in ("trips", "rating", "active", "city", "last_trip", "recent_fares")
                ),
                ("driver_id",),
            ),
            "customer_stats__orders": ("customer_id",),
            "customer_stats__spend": ("customer_id",),
            "expected_fare": KEYS,  # the server does not tell the view of what it computes in mode "python"
        }
        assert catalogue.keys == {"driver_id": "INT64", "customer_id": "STRING"}
        assert list(catalogue.request_columns) == ["distance"]

    def test_the_values_are_those_that_feast_gives(
        self, feature_server: FeatureServer, repository: Path, hour_ago: float
    ) -> None:
        async def run() -> Any:
            async with remote(feature_server.url) as store:
                names = names_of(store.catalogue)
                return names, await store.fetch(ROWS, names)

        names, fetched = asyncio.run(run())
        theirs = feast_values(repository, SERVICE, ROWS)
        theirs["last_trip"] = [moment and int(moment.timestamp()) for moment in theirs["last_trip"]]  # as JSON has it
        assert fetched.values == {name: theirs[name.rpartition("__")[2]] for name in names}
        # What a view allows is not told, so nothing is stale.
        assert fetched.statuses["driver_stats__rating"] == [FOUND, NULL, FOUND, MISSING, FOUND]
        assert fetched.statuses["customer_stats__orders"] == [FOUND, FOUND, MISSING, FOUND, FOUND]
        assert fetched.statuses["expected_fare"] == [FOUND, NULL, FOUND, NULL, FOUND]
        ten_days_ago = hour_ago + 3600 - 10 * 24 * 3600
        assert fetched.timestamps["driver_stats__trips"] == [hour_ago, hour_ago, ten_days_ago, 0, hour_ago]

    def test_without_a_key_only_the_features_that_it_finds_are_missing(self, feature_server: FeatureServer) -> None:
        rows: dict[str, list[Any]] = {"driver_id": [1001, None], "customer_id": [None, "ada"], "distance": [2.0, 2.0]}
        names = ["driver_stats__trips", "customer_stats__orders"]

        async def run() -> Any:
            async with remote(feature_server.url) as store:
                return await store.fetch(rows, names), await store.fetch({"customer_id": ["ada"]}, names)

        whole, half = asyncio.run(run())
        assert whole.values == {"driver_stats__trips": [12, None], "customer_stats__orders": [None, 3]}
        assert whole.statuses["driver_stats__trips"] == [FOUND, MISSING]
        assert half.statuses == {"driver_stats__trips": [MISSING], "customer_stats__orders": [FOUND]}

    def test_references_instead_of_a_service(self, feature_server: FeatureServer) -> None:
        async def run() -> Any:
            wanted = ["ride_fare:expected_fare", "driver_stats:trips"]
            async with remote(feature_server.url, None, features=wanted, keys=["driver_id"]) as store:
                names = names_of(store.catalogue)
                return names, await store.fetch(ROWS, names), await store.fetch({"driver_id": [1001]}, names[1:])

        names, fetched, stored = asyncio.run(run())
        assert names == ["ride_fare__expected_fare", "driver_stats__trips"]
        assert fetched.values["ride_fare__expected_fare"] == [2.375, None, 4.875, None, 11.25]
        assert stored.values == {"driver_stats__trips": [12]}

    @pytest.mark.parametrize(
        ("service", "options", "message"),
        [
            ("nope", {}, "answered 404: Feature service nope does not exist"),
            (None, {"features": ["nope:rating"]}, "answered 404: Feature view nope does not exist"),
            (None, {"features": ["driver_stats:nope"]}, "Feature nope not found in projection driver_stats"),
            (SERVICE, {"keys": ["driver"]}, "Missing join key .* declared entities: driver$"),
            (SERVICE, {"keys": [*KEYS, "nope"]}, "expected join keys as entities, got nope"),
            (SERVICE, {"keys": []}, "does not report join keys: expected entities"),
        ],
        ids=["service", "view", "feature", "entity", "key", "no-keys"],
    )
    def test_what_is_not_there(
        self, feature_server: FeatureServer, service: str | None, options: dict[str, Any], message: str
    ) -> None:
        async def run() -> None:
            async with remote(feature_server.url, service, **options):
                pass

        with pytest.raises(FeastError, match=message):
            asyncio.run(run())

    def test_after_a_refusal_the_next_lookup_is_answered(self, feature_server: FeatureServer) -> None:
        """Feast ends the connection without a word, and the next one on it would break."""

        async def run() -> None:
            async with remote(feature_server.url) as store:
                for _ in range(5):
                    with pytest.raises(FeastRefused, match="invalid literal for int"):
                        await store.fetch({**ROWS, "driver_id": ["x"] * 5}, [*TRIPS])
                    assert (await store.fetch(ROWS, [*TRIPS])).values == TRIPS

        asyncio.run(run())

    def test_many_at_once(self, feature_server: FeatureServer) -> None:
        async def run() -> None:
            async with remote(feature_server.url) as store:
                for fetched in await asyncio.gather(*(store.fetch(ROWS, [*TRIPS]) for _ in range(30))):
                    assert fetched.values == TRIPS

        asyncio.run(run())

    def test_held_up_it_is_given_up_in_time_and_asked_again_later(self, feature_server: FeatureServer) -> None:
        async def run() -> None:
            async with remote(feature_server.url) as inner:
                store = ResilientStore(inner, timeout=5, failures=2, open_seconds=0.05)
                await store.fetch(ROWS, [*TRIPS])
                store.timeout = 0.1
                feature_server.send(signal.SIGSTOP)
                try:
                    reasons = [await reason_of(store) for _ in range(3)]
                    assert reasons == ["timeout", "timeout", "circuit_open"]
                finally:
                    feature_server.send(signal.SIGCONT)
                store.timeout = 5
                await until_answered(store)

        asyncio.run(run())


async def reason_of(store: ResilientStore) -> str:
    with pytest.raises(FeastUnavailable) as failure:
        await store.fetch(ROWS, [*TRIPS])
    return failure.value.reason


async def until_answered(store: ResilientStore) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                assert (await store.fetch(ROWS, [*TRIPS])).values == TRIPS
                return
            except FeastUnavailable:
                await asyncio.sleep(0.02)


Answer = Callable[[QuietHandler], None]
GOOD = {
    "metadata": {"feature_names": ["driver_id", "driver_stats__trips"]},
    "results": [
        {"values": [1], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]},
        {"values": [12], "statuses": ["PRESENT"], "event_timestamps": ["2026-01-02T03:04:05.123456789Z"]},
    ],
}


class Scripted:
    """A server that gives the answers of a list, one after the other, and the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [reply(200, GOOD)]
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        script = self

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                script.connections += 1
                super().setup()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                script.headers.append({name.lower(): value for name, value in self.headers.items()})
                answer = script.answers[0]
                if len(script.answers) > 1:
                    script.answers.pop(0)
                answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def reply(status: int, body: Any = "", **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: QuietHandler) -> None:
        handler.reply(status, content, **headers)

    return answer


def hang_up(handler: QuietHandler) -> None:
    handler.close_connection = True


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


def fetched_from(scripted: Scripted, answers: Sequence[Answer], retries: int = 0, **options: Any) -> Any:
    """What one lookup gives after a start that went well."""

    async def run() -> Any:
        wanted = {"features": ["driver_stats:trips"], "keys": ["driver_id"], **options}
        async with remote(scripted.url, None, **wanted) as inner:
            store = ResilientStore(inner, timeout=5, retries=retries)
            scripted.answers = list(answers)
            return await store.fetch({"driver_id": [1001]}, [*TRIPS])

    return asyncio.run(run())


def test_connections_are_kept(scripted: Scripted) -> None:
    fetched = fetched_from(scripted, [reply(200, GOOD)])
    assert fetched.values == {"driver_stats__trips": [12]}
    assert fetched.timestamps == {"driver_stats__trips": [1767323045.123456]}
    assert scripted.connections == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_temporary_failures_are_retried(scripted: Scripted, status: int) -> None:
    assert fetched_from(scripted, [reply(status), reply(200, GOOD)], retries=1).values == {"driver_stats__trips": [12]}
    with pytest.raises(FeastUnavailable, match=f"answered {status}") as failure:
        fetched_from(scripted, [reply(status), reply(200, GOOD)])
    assert failure.value.reason == "unreachable"


def test_a_broken_connection_is_replaced(scripted: Scripted) -> None:
    assert fetched_from(scripted, [hang_up, reply(200, GOOD)]).values == {"driver_stats__trips": [12]}
    with pytest.raises(FeastUnavailable) as failure:
        fetched_from(scripted, [hang_up])
    assert failure.value.reason == "unreachable"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (reply(500, "no such column: x"), "answered 500: no such column: x$"),
        (reply(500, b"<html>oops</html>"), "answered 500$"),
        (reply(307, location="http://127.0.0.1:9/"), "answered 307; redirects are not followed"),
        (reply(401, {"detail": "no"}), r"answered 401: no; expected a valid token in FEAST_TOKEN_FILE"),
        (reply(403, ""), "answered 403; expected a valid token"),
    ],
    ids=["500", "html", "redirect", "401", "403"],
)
def test_a_refusal_is_not_retried(scripted: Scripted, answer: Answer, message: str) -> None:
    with pytest.raises(FeastRefused, match=message):
        fetched_from(scripted, [answer, reply(200, GOOD)], retries=3)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', {}, {"metadata": {}}, {"metadata": {"feature_names": ["a"]}, "results": []},
     {"metadata": {"feature_names": ["driver_stats__trips"]}, "results": [{}]},
     {"metadata": {"feature_names": ["driver_stats__trips"]}, "results": ["x"]},
     {"metadata": {"feature_names": ["driver_stats__trips"]},
      "results": [{"values": [1], "statuses": [], "event_timestamps": []}]},
     {"metadata": {"feature_names": ["driver_stats__trips"]},
      "results": [{"values": [1], "statuses": ["PRESENT"], "event_timestamps": ["soon"]}]},
     {"metadata": {"feature_names": ["driver_stats__trips"]},
      "results": [{"values": [1], "statuses": ["PRESENT"], "event_timestamps": [None]}]},
     {"metadata": {"feature_names": ["other"]}, "results": [{}]}],
)  # fmt: skip
def test_answers_that_no_feature_server_gives(scripted: Scripted, body: Any) -> None:
    with pytest.raises(
        FeastUnavailable, match=r"is not that of a feature server|has no driver_stats__trips"
    ) as failure:
        fetched_from(scripted, [reply(200, body)])
    assert failure.value.reason == "error"


def test_too_few_rows_are_no_answer(scripted: Scripted) -> None:
    short = json.loads(json.dumps(GOOD))
    short["results"][1] = {"values": [], "statuses": [], "event_timestamps": []}
    with pytest.raises(FeastUnavailable, match="is not that of a feature server"):
        fetched_from(scripted, [reply(200, short)])


def test_the_current_token_is_sent_and_never_shown(scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    tokens = iter(["first-token", "first-token", "second-token\n"])
    with pytest.raises(FeastRefused) as failure:
        fetched_from(scripted, [reply(401)], token=lambda: next(tokens))
    assert [one["authorization"] for one in scripted.headers] == [
        "Bearer first-token",
        "Bearer first-token",
        "Bearer second-token",
    ]
    assert "second-token" not in str(failure.value) + caplog.text
    with pytest.raises(FeastError, match="has characters that are not allowed in a token"):
        fetched_from(scripted, [], token=lambda: "a b")


def test_a_password_in_the_address_is_not_shown() -> None:
    async def run() -> None:
        async with remote(f"http://user:secret@127.0.0.1:{free_port()}/feast"):
            pass

    with pytest.raises(FeastUnavailable, match=r"http://127\.0\.0\.1:\d+/feast: ") as failure:
        asyncio.run(run())
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("url", ["ftp://feast", "feast:6566", "http://", ""])
def test_invalid_urls(url: str) -> None:
    async def run() -> None:
        async with remote(url):
            pass

    with pytest.raises(FeastError, match="expected the URL of a feature server"):
        asyncio.run(run())


def test_proxies_of_the_environment_are_not_used(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert fetched_from(scripted, [reply(200, GOOD)]).values == {"driver_stats__trips": [12]}


def test_cancelled_lookups_leave_the_connection_usable(scripted: Scripted) -> None:
    release = threading.Event()
    begun = threading.Event()

    def wait(handler: QuietHandler) -> None:
        begun.set()
        release.wait(30)
        with contextlib.suppress(OSError):
            reply(200, GOOD)(handler)

    async def run() -> None:
        async with remote(scripted.url, None, features=["driver_stats:trips"], keys=["driver_id"]) as inner:
            store = ResilientStore(inner, timeout=30, failures=1)
            scripted.answers = [wait, reply(200, GOOD)]
            task = asyncio.create_task(store.fetch({"driver_id": [1001]}, [*TRIPS]))
            await asyncio.to_thread(wait_for, begun.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            fetched = await store.fetch({"driver_id": [1001]}, [*TRIPS])
            assert fetched.values == {"driver_stats__trips": [12]}

    try:
        asyncio.run(run())
    finally:
        release.set()
