"""A server process under attack: what it uses, whether it lives and whether it still answers rightly."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import orjson
import psutil
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from tests.attack import http1, prober
from tests.attack.report import Measurement, measurements
from tests.serving import Process, children, process

MIB = 1024**2
MEMORY = 4 * 1024 * MIB  # of address space: an attack that succeeds ends its server, not this machine
MAX_BODY = 16 * MIB
HELD = 4 * MAX_BODY
"""Bytes of requests that a server holds at a time, by default."""
READ_TIMEOUT = 2
SECRET = "a secret between registry and server"
COLUMNS = ("temperature", "vibration", "months_since_service", "load")
ROW = [91.5, 1.05, 41, 0.9]
PREDICT, INFER, INVOCATIONS = "/v1/models/model:predict", "/v2/models/model/infer", "/invocations"
GOOD_BODY = orjson.dumps({"instances": [ROW]})
PROBABILITY = pytest.approx(0.98345, abs=1e-5)
HEALTH_SECONDS = 0.25
"""The bar is 100 ms on an idle machine; tests share theirs with others."""
REQUEST_SECONDS = 5.0


@dataclass
class Health:
    """How long replies about health took during an attack, over HTTP and gRPC; it ends with the `with` block."""

    durations: list[float] = field(default_factory=list)

    @property
    def slowest(self) -> float:
        return max(self.durations)

    @property
    def p99(self) -> float:
        """Of those who would have asked every 20 ms, also while one reply was waited for."""
        waits = sorted(
            one - i * prober.INTERVAL for one in self.durations for i in range(1 + int(one / prober.INTERVAL))
        )
        return waits[-1 - len(waits) // 100]

    def check(self, seconds: float = HEALTH_SECONDS) -> None:
        assert self.p99 < seconds, f"p99 {self.p99:.2f} s, slowest {self.slowest:.2f} s"


@dataclass
class Attacked:
    server: Process
    log_start: int = 0
    """Where the log of this test begins."""

    @property
    def http(self) -> http1.Address:
        return "127.0.0.1", int(self.server.running.url.rpartition(":")[2])

    @property
    def grpc(self) -> http1.Address:
        host, _, port = self.server.running.grpc.partition(":")
        return host, int(port)

    @property
    def pid(self) -> int:
        return self.server.process.pid

    def check_alive(self) -> None:
        code = self.server.process.poll()
        assert code is None, f"the server ended with {code}: {self.server.log[-2000:]}"

    def check_correct(self) -> None:
        """A new client of either protocol gets the right numbers."""
        self.check_alive()
        response = http1.ask(self.http, http1.request(PREDICT, GOOD_BODY), REQUEST_SECONDS)
        assert response.status == 200, response
        assert response.json["predictions"] == [1]
        assert response.json["probabilities"][0][1] == PROBABILITY
        with grpc.insecure_channel(self.server.running.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            reply = pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer(good_message(), timeout=REQUEST_SECONDS)
        assert reply.outputs[1].contents.fp64_contents[1] == PROBABILITY

    @property
    def log(self) -> str:
        return self.server.log[self.log_start :]

    def check_log(self) -> None:
        """Nothing that a client sends is a fault of the server."""
        log = self.log
        at = log.find("Traceback")
        assert at < 0, log[max(0, at - 500) : at + 3000]

    # -- what it uses ---------------------------------------------------------------------------------------------

    @property
    def memory(self) -> int:
        """Bytes that are resident now."""
        return self.status_bytes("VmRSS")

    @property
    def peak(self) -> int:
        """The most bytes that were resident since `reset_peak`."""
        return self.status_bytes("VmHWM")

    def status_bytes(self, name: str) -> int:
        self.check_alive()
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    def reset_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def cpu_seconds(self) -> float:
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    @contextlib.contextmanager
    def bounded(self, growth: int, *, cpu: float = 2.0) -> Iterator[None]:
        """What happens within may take so many bytes more than before, and so many seconds of CPU."""
        self.reset_peak()
        memory, used = self.memory, self.cpu_seconds
        yield
        grown, used = self.peak - memory, self.cpu_seconds - used
        assert grown < growth, f"{grown // MIB} MiB more than before; {growth // MIB} MiB are allowed"
        assert used < cpu, f"{used:.1f} s of CPU; {cpu:.1f} s are allowed"

    @contextlib.contextmanager
    def probed(self) -> Iterator[Health]:
        """Asks for its health every 20 ms, from another process that has connections of its own."""
        health = Health()
        command = [sys.executable, "-S", str(Path(prober.__file__)), str(self.http[1]), str(self.grpc[1])]
        started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert started.stdout is not None
        self.reset_peak()
        memory = self.memory
        try:
            assert started.stdout.readline() == "ready\n"
            time.sleep(0.2)
            yield health
            output, _ = started.communicate(timeout=30)
            health.durations = [float(word) for word in output.split()]
            growth = self.peak - memory if self.server.process.poll() is None else 0
            failures = health.durations.count(prober.TIMEOUT)
            measurements.append(
                Measurement(len(health.durations), failures, health.p99, health.slowest, max(0, growth))
            )
        finally:
            started.kill()
            started.wait()


def good_message(rows: int = 1) -> Any:
    message = pb.ModelInferRequest(model_name="model")
    values = [float(value) for value in ROW]
    message.inputs.add(name="x", datatype="FP64", shape=[rows, 4]).contents.fp64_contents.extend(values * rows)
    return message


@contextlib.contextmanager
def attacked(
    folder: Path,
    *flags: str,
    memory: int = MEMORY,
    env: Mapping[str, str] | None = None,
    ready: bool = True,
    cold: bool = False,
) -> Iterator[Attacked]:
    """A server of the demo model, or of what the flags say, that can take only so much memory."""
    folder.mkdir(exist_ok=True)
    with process(folder, *flags, env=env, ready=ready, cold=cold) as server:
        for pid in (server.process.pid, *children(server.process.pid)):
            psutil.Process(pid).rlimit(psutil.RLIMIT_AS, (memory, memory))
        yield Attacked(server)
