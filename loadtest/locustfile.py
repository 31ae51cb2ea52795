"""Locust for any served model: `locust -f loadtest/locustfile.py --host http://localhost:8080 [V1 V2 V2Binary …]`.

There is one user class per protocol; requests are generated from the server's /schema. `--shape` sets how the number
of users changes; with `--open-rate` each user sends requests without waiting for responses.
"""

# ruff: noqa: E402 - gRPC must be set up for gevent before its first use, and this folder must be importable
from __future__ import annotations

import sys
import time
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import gevent
import grpc.experimental.gevent
from gevent.pool import Group
from locust import FastHttpUser, LoadTestShape, User, constant, events, task
from locust.exception import StopUser

sys.path.insert(0, str(Path(__file__).parents[1]))
grpc.experimental.gevent.init_gevent()

from loadtest import profiles, slo
from loadtest.__main__ import headers_of
from loadtest.payloads import GRPC_METHOD, Payload
from loadtest.target import Target, UnusableTarget

VARIATIONS = 64
DURATION = 60
PREPARED: dict[str, list[Payload]] = {}


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    parser.add_argument("--shape", choices=profiles.PROFILES, default="steady", help="how the number of users changes")
    parser.add_argument(
        "--open-rate", type=float, default=0.0, help="requests per second and user, without waiting for responses"
    )
    parser.add_argument("--slo", default=slo.DEFAULT, help="objectives, which decide the exit code")
    parser.add_argument("--rows", type=int, default=1, help="rows in each request")
    parser.add_argument("--seed", type=int, default=0, help="seed of the generated values")
    parser.add_argument("--grpc", default="", help="host:port of the gRPC server (default: port 8081 of the host)")
    parser.add_argument("--header", action="append", default=[], help="'NAME: VALUE'", include_in_web_ui=False)
    parser.add_argument("--token-file", type=Path, help="file with a bearer token", include_in_web_ui=False)
    parser.add_argument("--ca", type=Path, help="certificates of the authorities to trust", include_in_web_ui=False)


def target(environment: Any) -> Target:
    options = environment.parsed_options
    return Target(environment.host or "", options.grpc, headers_of(options), ca=options.ca)


@events.test_start.add_listener
def prepare(environment: Any, **_: Any) -> None:
    PREPARED.clear()
    options = environment.parsed_options
    try:
        slo.parse(options.slo)
        if options.open_rate < 0:
            raise UnusableTarget(f"--open-rate: {options.open_rate:g} is less than 0")
        for kind in environment.user_classes:
            PREPARED[kind.protocol] = target(environment).payloads(
                kind.protocol, options.rows, options.seed, VARIATIONS
            )[0]
    except UnusableTarget as error:
        print(f"error: {error}", file=sys.stderr)
        if options.headless:
            sys.exit(2)
        environment.runner.log_exception("local", str(error), "")  # shown on its web page
        gevent.spawn(environment.runner.stop)
    environment.shape_class.reset_time()  # the preparation took a while; the test begins now


@events.quitting.add_listener
def judge(environment: Any, **_: Any) -> None:
    if environment.process_exit_code is None and not environment.parsed_options.worker:
        try:
            results = checks(environment, environment.stats.total.get_response_time_percentile)
        except UnusableTarget:  # the web page takes any text; the error was printed at the start of the test
            environment.process_exit_code = 2
            return
        print("\n".join(map(str, results)))
        environment.process_exit_code = 0 if all(one.kept for one in results) else 1


def checks(environment: Any, percentile: Any) -> list[slo.Check]:
    total = environment.stats.total

    def measured(name: str) -> float | None:
        if name == "errors":
            return float(total.fail_ratio)
        if name in ("mean", "max"):
            return float(total.avg_response_time if name == "mean" else total.max_response_time) / 1e3
        value = percentile(float(name[1:]) / 100)
        return None if value is None else value / 1e3

    return [slo.Check(one, measured(one.name)) for one in slo.parse(environment.parsed_options.slo)]


class LoadProfile(LoadTestShape):
    """At most `--users` for `--run-time`; "step" ends where the SLO breaks."""

    use_common_options = True
    stair = 0

    def reset_time(self) -> None:
        super().reset_time()
        self.stair = 0

    def tick(self) -> tuple[int, float] | None:
        if self.runner is None:
            return None
        environment = self.runner.environment
        options: Any = environment.parsed_options
        moment = self.get_run_time() / float(options.run_time or DURATION)
        users = options.num_users or 1
        if moment >= 1 or (options.shape == "step" and self.broken(environment, moment, users)):
            return None
        rate = options.spawn_rate or users if options.shape == "steady" else users
        return max(1, round(users * profiles.share(options.shape, moment))), max(1, rate)

    def broken(self, environment: Any, moment: float, users: int) -> bool:
        now = profiles.step_at(moment)
        if now == self.stair:
            return False
        self.stair = now
        missed = [one for one in checks(environment, recent(environment)) if not one.kept]
        if missed:
            before, after = (round(users * step / profiles.STEPS) for step in (now - 1, now))
            print(f"the SLO broke at {after} users and held at {before}: {'; '.join(map(str, missed))}")
        return bool(missed)


def recent(environment: Any) -> Any:
    """Percentiles of the last ten seconds, or of the whole test if it is shorter."""
    total = environment.stats.total
    return lambda share: total.get_current_response_time_percentile(share) or total.get_response_time_percentile(share)


class LoadUser(User):
    """Sends one request after the other, or each when it is due."""

    abstract = True
    protocol: ClassVar[str]
    wait_time = constant(0)

    def on_start(self) -> None:
        self.numbers, self.due, self.sent = count(id(self) % VARIATIONS), time.perf_counter(), Group()
        if self.protocol in PREPARED:
            self.open()

    def open(self) -> None:
        self.to = target(self.environment)

    def on_stop(self) -> None:
        self.sent.join(timeout=5)
        self.sent.kill()

    @task
    def call(self) -> None:
        if self.protocol not in PREPARED:
            raise StopUser  # raised in on_start it would be logged as an error
        rate = self.environment.parsed_options.open_rate
        payload = PREPARED[self.protocol][next(self.numbers) % len(PREPARED[self.protocol])]
        if not rate:
            self.ask(payload, time.perf_counter())
            return
        self.due += 1 / rate
        gevent.sleep(max(0.0, self.due - time.perf_counter()))
        self.sent.spawn(self.ask, payload, self.due)

    def ask(self, payload: Payload, due: float) -> None:
        """Sends the request; its latency counts from `due`."""
        raise NotImplementedError


class RestUser(LoadUser, FastHttpUser):
    abstract = True
    concurrency = 1000  # connections of one user, opened on demand

    def ask(self, payload: Payload, due: float) -> None:
        headers = {**payload.headers, **self.to.headers}
        with self.client.post(
            payload.path,
            data=payload.body,  # type: ignore[arg-type]  # bytes go as they are
            headers=headers,
            name=self.protocol,
            catch_response=True,
        ) as reply:
            reply.request_meta["response_time"] = (time.perf_counter() - due) * 1e3


class V1(RestUser):
    protocol = "v1"


class V2(RestUser):
    protocol = "v2"


class V2Binary(RestUser):
    protocol = "v2-binary"


class Invocations(RestUser):
    protocol = "invocations"


class Grpc(LoadUser):
    protocol = "grpc"
    channel: Any = None

    def open(self) -> None:
        super().open()
        self.channel = self.to.channel(grpc)
        self.infer = self.channel.unary_unary(GRPC_METHOD)

    def on_stop(self) -> None:
        super().on_stop()
        if self.channel is not None:
            self.channel.close()

    def ask(self, payload: Payload, due: float) -> None:
        error, reply = None, b""
        try:
            reply = self.infer(payload.body, timeout=10, metadata=self.to.metadata)
        except grpc.RpcError as failed:
            error = failed
        self.environment.events.request.fire(
            request_type="gRPC", name=self.protocol, response_time=(time.perf_counter() - due) * 1e3,
            response_length=len(reply), exception=error, context={},
        )  # fmt: skip
