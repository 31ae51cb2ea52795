"""Serves as processes of this machine."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from controlplane.backends.backend import Backend, FoundServe, Key, RequestUnanswered, SmokeAnswer
from controlplane.backends.local.command import command, environ, problems
from controlplane.backends.local.ports import HOST, PortRange
from controlplane.backends.local.processes import ProcessId, ProcessWatch, marked, spawn
from controlplane.backends.local.records import ProcessRecord, ProcessRecords
from controlplane.backends.local.routes import Routes, WeightedProcess
from controlplane.backends.secret_files import MissingSecret
from controlplane.backends.smoke import answered
from controlplane.decide import Instance, Observed, Phase
from controlplane.domain.problems import FieldProblem
from controlplane.domain.revisions import Content
from controlplane.domain.rollouts import SmokeRequest
from controlplane.failpoints import failpoint
from monitoring.verdict import CounterSource, PodScraper

BACKOFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Between one start and the next, by how often it was started in a row."""
STEADY_SECONDS = 60.0
"""A process that ran for so long is started again at once."""
DRAIN_SECONDS = 40.0
PROBE_SECONDS = 2.0
LOG_TAIL = 16384  # bytes that are searched for the last error


class LocalBackend(Backend):
    def __init__(self, folder: Path, ports: PortRange, now: Callable[[], float] = time.time) -> None:
        self.folder, self.range, self.now = folder, ports, now
        self.mark = str(folder.resolve())
        self.secrets = folder / "secrets"
        self.records = ProcessRecords(folder / "serves")
        self.routes = Routes(folder, self.mark)
        self.watcher: ProcessWatch | None = None
        self.lock = threading.RLock()

    def problems(self, serve: str, content: Content) -> list[FieldProblem]:
        return list(problems(serve, content))

    # -- what is there ------------------------------------------------------------------------------------------

    def observe(
        self, key: Key, wanted: int | None = None, content: Content | None = None, closely: bool = False
    ) -> Observed:
        with self.lock:  # a process that is just being started is neither there nor gone
            records = [(record, self.process(key, record)) for record in self.records.of(key)]
            route = self.routes.get(key)
        observed = (self.instance(key, record, process) for record, process in records)
        instances = tuple(each for each in observed if each is not None)
        if route is None:
            return Observed(instances)
        listening = {(record.revision, record.http_port) for record, _ in records}
        weights = {
            each.revision: each.weight for each in route.processes if (each.revision, each.http_port) in listening
        }
        return Observed(instances, weights, route.url)

    def instance(self, key: Key, record: ProcessRecord, process: ProcessId | None) -> Instance | None:
        """A record as an instance; None for a process that has stopped as it should."""
        runs = process is not None and process.runs()
        details = {"pid": process.pid if process and runs else None, "url": f"http://{HOST}:{record.http_port}"}
        due_at, message = 0.0, ""
        phase: Phase
        if record.stopping_until is not None:
            if not runs:
                return None
            phase, due_at = "stopping", record.stopping_until
        elif not runs:
            phase, due_at = "failed", record.started_at + BACKOFF_SECONDS[min(record.starts, len(BACKOFF_SECONDS)) - 1]
            message = self.last_error(key, record)
        else:
            status, message = readiness(record.http_port)
            phase = "ready" if status == 200 else "starting"
        return Instance(record.revision, phase, record.started_at, record.starts, due_at, message, details)

    def process(self, key: Key, record: ProcessRecord) -> ProcessId | None:
        """The process of a record; one that was started and not noted any more is found by its mark."""
        if record.pid is not None and record.created is not None:
            return ProcessId(record.pid, record.created)
        return marked(self.mark_of(key, record.revision))

    def mark_of(self, key: Key, revision: int) -> str:
        return f"{self.mark}/{key}/{revision}"

    def keys(self) -> list[Key]:
        return self.records.kept()

    def owns(self, key: Key) -> bool:
        return True

    def logs(self, key: Key, revision: int, lines: int) -> str:
        return "".join(f"{line}\n" for line in tail(self.records.log_file(key, revision), 1 << 20)[-lines:])

    def last_error(self, key: Key, record: ProcessRecord) -> str:
        lines = tail(self.records.log_file(key, record.revision), LOG_TAIL)
        errors = [line.partition(" ERROR predictors: ")[2] for line in lines if " ERROR predictors: " in line]
        return errors[-1] if errors else "its process ended without an error in its log"

    def dry_run(self, key: Key, revision: int, content: Content) -> Mapping[str, Any] | None:
        return None

    def deployed(self, env: str) -> list[FoundServe]:
        return []  # processes say which revision they are, and not all that it says

    # -- what is done -------------------------------------------------------------------------------------------

    def apply(self, key: Key, revision: int, content: Content, take_over: bool = False, by_steps: bool = False) -> None:
        with self.lock:
            record = self.next_record(key, revision, content)
            self.records.write(key, record)  # before the process: it is then found whatever happens
            failpoint("before_spawn")
            mark = self.mark_of(key, revision)
            process = marked(mark) or self.spawn(key, record, content, mark)
            failpoint("after_spawn")
            if process is not None:
                self.records.write(key, replace(record, pid=process.pid, created=process.created))
        failpoint("after_record")
        if process is not None:
            self.attend(key, process)

    def next_record(self, key: Key, revision: int, content: Content) -> ProcessRecord:
        """The record of the next start, on the same ports."""
        now = self.now()
        old = self.records.get(key, revision)
        if old is not None and old.stopping_until is None:
            starts = 1 if now - old.started_at > STEADY_SECONDS else old.starts + 1
            return replace(old, started_at=now, starts=starts, pid=None, created=None)
        used_ports = self.routes.ports() | {
            port
            for each in self.records.known()
            for record in self.records.of(each)
            for port in (record.http_port, record.grpc_port)
        }
        route = self.routes.ensured(key, self.range, used_ports)
        ports = self.range.free(2, used_ports | {route.http_port, route.grpc_port})
        return ProcessRecord(revision, ports[0], ports[1], now, 1)

    def spawn(self, key: Key, record: ProcessRecord, content: Content, mark: str) -> ProcessId | None:
        log = self.records.log_file(key, record.revision)
        try:
            variables = environ(key.serve, content, self.secrets)
        except MissingSecret as error:
            with log.open("a") as file:
                file.write(f"{datetime.now():%F %T} ERROR predictors: {error}\n")
            return None
        return spawn(command(key.serve, content, record.http_port, record.grpc_port), variables, mark, log)

    def split(self, key: Key, weights: Mapping[int, int]) -> None:
        records = {revision: self.records.get(key, revision) for revision in weights}
        self.routes.split(key, [
            WeightedProcess(revision, weight, record.http_port, record.grpc_port)
            for revision, weight in weights.items()
            if (record := records[revision]) is not None
        ])  # fmt: skip
        failpoint("after_route")

    def counters(self, key: Key, revision: int) -> CounterSource:
        record = self.records.get(key, revision)
        return PodScraper([f"http://{HOST}:{record.http_port}"] if record is not None else [])

    def ask(self, key: Key, revision: int, request: SmokeRequest) -> SmokeAnswer:
        record = self.records.get(key, revision)
        if record is None:
            raise RequestUnanswered("its process is gone")
        return answered(HOST, record.http_port, request)

    def discard(self, key: Key, revision: int) -> None:
        with self.lock:
            record = self.records.get(key, revision)
            if record is None:
                return
            self.routes.leave(key, revision)
            process = self.process(key, record)
            if process is None or not process.runs():
                self.records.remove(key, revision)
            elif record.stopping_until is None:
                self.records.write(key, replace(record, stopping_until=self.now() + DRAIN_SECONDS))
                process.terminate()
            else:
                process.kill()

    def forget(self, key: Key) -> None:
        with self.lock:
            self.routes.remove(key)
            self.records.remove_all(key)

    # -- what ends by itself ------------------------------------------------------------------------------------

    def tend(self) -> None:
        gateway = self.routes.tend()
        if gateway is not None and self.watcher is not None:
            self.watcher.add(gateway, "")
        for key in self.records.known():
            for record in self.records.of(key):
                process = self.process(key, record)
                if process is not None and process.runs():
                    self.attend(key, process)
                elif record.stopping_until is not None:
                    self.records.remove(key, record.revision)

    def watch(self, changed: Callable[[Key | None], None]) -> None:
        def ended(name: str) -> None:
            env, _, serve = name.partition("/")
            changed(Key(env, serve) if serve else None)

        self.watcher = ProcessWatch(ended)

    def attend(self, key: Key, process: ProcessId) -> None:
        if self.watcher is not None:
            self.watcher.add(process, str(key))

    def close(self) -> None:
        if self.watcher is not None:
            self.watcher.close()

    def stop_all(self) -> None:
        """Ends every process of this folder."""
        for key in self.keys():
            for record in self.records.of(key):
                process = self.process(key, record)
                if process is not None:
                    process.terminate()
        gateway = marked(self.routes.mark)
        if gateway is not None:
            gateway.terminate()


def readiness(port: int) -> tuple[int | None, str]:
    """The status of a server's readiness, and why it is not ready."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/v2/health/ready")
        response = connection.getresponse()
        body = response.read(4096).decode(errors="replace")
        return response.status, "" if response.status == 200 else body
    except (OSError, http.client.HTTPException):
        return None, ""
    finally:
        connection.close()


def tail(file: Path, size: int) -> list[str]:
    """The last lines of a file."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - size))
            return opened.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
