"""The back end of this machine, with real processes of a quick server."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from controlplane.backends.backend import BackendAway, Key
from controlplane.backends.local import backend as local
from controlplane.backends.local import routes
from controlplane.backends.local.backend import LocalBackend
from controlplane.backends.local.command import command, environ, problems
from controlplane.backends.local.ports import PortRange, is_free
from controlplane.backends.local.records import ProcessRecord
from controlplane.backends.secret_files import MissingSecret
from controlplane.decide import Instance
from controlplane.domain.deployments import DeploymentConfig
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.revisions import Content
from loadtest.peers.ports import free_port
from tests.controlplane.crashing import quick_command
from tests.controlplane.plane import HEALTHY, MovedClock
from tests.controlplane.up import cleaned, processes_of
from tests.serving import wait_for

KEY = Key("local", "fraud")


def content(uri: str = HEALTHY, infra: dict[str, Any] | None = None, **fields: Any) -> Content:
    environment = EnvironmentConfig(**fields.pop("environment", {}))
    deployment = DeploymentConfig(**fields)
    return Content(
        artifact_version="v1", model_uri=uri, infra=infra or {}, deployment=deployment, environment=environment
    )  # fmt: skip


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def backend(tmp_path: Path, clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBackend]:
    monkeypatch.setattr(local, "command", quick_command)
    first = free_port()
    with cleaned(tmp_path):
        yield LocalBackend(tmp_path, PortRange(first, first + 200), clock)


def instance(backend: LocalBackend, revision: int = 1, key: Key = KEY) -> Instance | None:
    return backend.observe(key).instance(revision)


def started(backend: LocalBackend, revision: int = 1, key: Key = KEY) -> Instance:
    """The revision, once it is ready."""
    backend.apply(key, revision, content())
    wait_for(lambda: (one := instance(backend, revision, key)) is not None and one.phase == "ready", seconds=60)
    found = instance(backend, revision, key)
    assert found is not None
    return found


def test_an_address_is_kept_while_processes_change(backend: LocalBackend) -> None:
    first = started(backend)
    assert backend.observe(KEY).serving is None
    backend.split(KEY, {1: 100})
    url = backend.observe(KEY).url
    assert url is not None
    assert httpx.get(f"{url}/v2/health/ready").status_code == 200
    started(backend, 2)
    backend.split(KEY, {2: 100})
    backend.discard(KEY, 1)
    wait_for(lambda: instance(backend, 1) is None, seconds=30)
    assert (backend.observe(KEY).url, backend.observe(KEY).serving) == (url, 2)
    assert httpx.get(f"{url}/v2/health/ready").status_code == 200
    backend.discard(KEY, 2)
    assert httpx.get(f"{url}/v2/health/ready").status_code == 503
    assert first.details["url"] != url


def test_serves_have_ports_of_their_own(backend: LocalBackend) -> None:
    keys = [Key("local", "a"), Key("local", "b"), Key("prod", "a")]
    for key in keys:
        started(backend, 1, key)
        backend.split(key, {1: 100})
    listed = [
        port for key in keys for record in backend.records.of(key) for port in (record.http_port, record.grpc_port)
    ]
    listed += backend.routes.ports()
    assert len(set(listed)) == 12
    assert backend.keys() == sorted(keys)


def test_a_process_that_ends_waits_longer_each_time(backend: LocalBackend, clock: MovedClock) -> None:
    waits = []
    for _ in range(4):
        one = started(backend)
        os.kill(one.details["pid"], 9)
        wait_for(lambda: (one := instance(backend)) is not None and one.phase == "failed", seconds=30)
        failed = instance(backend)
        assert failed is not None
        waits.append(failed.due_at - clock())
    assert waits == [1, 2, 5, 10]
    clock.time += 61
    assert started(backend).starts == 1


def test_another_process_with_the_same_pid_is_left_alone(backend: LocalBackend) -> None:
    backend.records.write(KEY, ProcessRecord(1, 1, 2, 0.0, 1, pid=os.getpid(), created=1.0))
    one = instance(backend)
    assert one is not None
    assert (one.phase, one.details["pid"]) == ("failed", None)
    backend.discard(KEY, 1)
    assert backend.observe(KEY).instances == ()


def test_a_process_that_does_not_end_is_ended(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(999)"
    )
    monkeypatch.setattr(local, "command", lambda *arguments: [sys.executable, "-c", code])
    backend.apply(KEY, 1, content())
    wait_for(lambda: "deaf" in backend.logs(KEY, 1, 10), seconds=30)
    backend.discard(KEY, 1)
    one = instance(backend)
    assert one is not None
    assert (one.phase, one.due_at) == ("stopping", backend.now() + local.DRAIN_SECONDS)
    backend.discard(KEY, 1)
    wait_for(lambda: instance(backend) is None, seconds=30)
    assert len(processes_of(backend.folder)) == 1  # the gateway


def test_a_watch_says_what_has_ended(backend: LocalBackend) -> None:
    changed: list[Key | None] = []
    backend.watch(changed.append)
    one = started(backend)
    assert changed == []
    os.kill(one.details["pid"], 9)
    wait_for(lambda: changed == [KEY], seconds=30)
    backend.close()


def test_nothing_stays_of_a_serve_that_was_deleted(backend: LocalBackend) -> None:
    """The next one of its name has another address, and does not show its logs."""
    started(backend)
    backend.split(KEY, {1: 100})
    url = backend.observe(KEY).url
    assert url is not None
    backend.discard(KEY, 1)
    wait_for(lambda: instance(backend) is None, seconds=30)
    assert backend.logs(KEY, 1, 100)
    backend.forget(KEY)
    assert (backend.logs(KEY, 1, 100), backend.keys(), backend.observe(KEY).url) == ("", [], None)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    backend.forget(KEY)


def test_a_secret_that_is_not_there_is_named(backend: LocalBackend) -> None:
    variables = {"PASSWORD": {"secret": "database", "key": "password"}}
    backend.apply(KEY, 1, content(environment_variables=variables))
    one = instance(backend)
    assert one is not None
    assert (one.phase, one.message) == ("failed", "PASSWORD: there is no secret database with the key password")


def test_the_variables_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / "password").write_text("hunter2\n")
    said = content(
        infra={"reload": {"interval": "10s"}, "workers": 2, "env": {"A": "1"}},
        environment={"tracking_uri": "http://mlflow:5000", "ft_redis_url": "redis://r:6379"},
        environment_variables={"PASSWORD": {"secret": "database", "key": "password"}},
    )
    variables = environ("fraud", said, tmp_path)
    expected = {
        "MLFLOW_TRACKING_URI": "http://mlflow:5000", "FT_REDIS_URL": "redis://r:6379", "PASSWORD": "hunter2", "A": "1",
        "MODEL_RELOAD_INTERVAL": "10", "MLFLOW_KSERVE_WORKERS": "2", "PATH": os.environ["PATH"],
    }  # fmt: skip
    assert expected.items() <= variables.items()
    assert not {"MODEL_URI", "MODEL_LOCAL_PATH", "MLFLOW_KSERVE_FLAVOR", "MLFLOW_KSERVE_DRAIN_DELAY"} & variables.keys()
    with pytest.raises(MissingSecret):
        environ("fraud", said, tmp_path / "none")


def test_all_keys_of_a_secret_are_variables_below_those_with_a_name(tmp_path: Path) -> None:
    (tmp_path / "database").mkdir()
    for key in ("USER", "PASSWORD"):
        (tmp_path / "database" / key).write_text(f"{key.lower()}\n")
    variables = environ("fraud", content(infra={"env_from": ["database"], "env": {"USER": "ann"}}), tmp_path)
    assert (variables["USER"], variables["PASSWORD"]) == ("ann", "password")
    with pytest.raises(MissingSecret, match="there is no secret queue, whose keys"):
        environ("fraud", content(infra={"env_from": ["queue"]}), tmp_path)


def test_the_command_of_a_server() -> None:
    flags = command("fraud", content(infra={"args": ["--engine=native"]}), 1, 2)[3:]
    assert flags == [
        "--model-uri", HEALTHY, "--model-name", "fraud", "--host", "127.0.0.1", "--http-port", "1", "--grpc-port", "2",
        "--engine=native",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "field", "reason"),
    [
        (content("/nowhere"), "model_uri", "has no file MLmodel"),
        (content(f"file://{Path(__file__).parent}"), "model_uri", "has no file MLmodel"),
        (content(infra={"auth": {"tokens": {"secret": "a", "key": "b"}}}), "spec", "a mounted secret"),
        (content(infra={"image": "mine:1"}), "spec.image", "runs in no image"),
        (content(infra={"replicas": {"min": 3, "max": 2}}), "spec.replicas.min", "3 is more than"),
    ],
    ids=["no folder", "no model", "mounted", "image", "rule"],
)
def test_what_cannot_run_here_is_refused(said: Content, field: str, reason: str) -> None:
    found = list(problems("fraud", said))
    assert any(each.field.startswith(field) and reason in each.reason for each in found), found


def test_ports_that_are_taken_are_passed_over(tmp_path: Path) -> None:
    first = free_port()
    with socket.create_server(("127.0.0.1", first)):
        assert not is_free(first)
        assert first not in PortRange(first, first + 50).free(2, [first + 1])
        assert first + 1 not in PortRange(first, first + 50).free(2, [first + 1])


def asked(url: str) -> str:
    """The port of the process that answered, on a connection of its own."""
    return httpx.get(f"{url}/v2/health/ready", headers={"connection": "close"}).headers["x-port"]


def test_connections_outlive_a_gateway_without_descriptors(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(backend)
    backend.split(KEY, {1: 100})
    url, gateway = backend.observe(KEY).url, backend.routes.process
    assert url is not None
    assert gateway is not None
    process = psutil.Process(gateway.pid)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536), "it allows itself what the system does"
    with monkeypatch.context() as patch:
        patch.setattr(routes, "FOLLOW_SECONDS", 0.5)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), hard))
        with pytest.raises(BackendAway):
            backend.split(KEY, {})
        process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
    backend.split(KEY, {1: 100})
    assert backend.routes.process == gateway
    assert asked(url)


def test_connections_are_split_by_weight(backend: LocalBackend) -> None:
    ports = {started(backend, revision).details["url"].rpartition(":")[2]: revision for revision in (1, 2)}
    backend.split(KEY, {1: 90, 2: 10})
    observed = backend.observe(KEY)
    assert (observed.weights, observed.serving) == ({1: 90, 2: 10}, 1)
    assert observed.url is not None
    answers = [ports[asked(observed.url)] for _ in range(20)]
    assert [answers[:10].count(2), answers[10:].count(2)] == [1, 1]
    # A process that has ended costs no request: the other one stands in for it.
    first = instance(backend, 1)
    assert first is not None
    os.kill(first.details["pid"], 9)
    wait_for(lambda: (one := instance(backend, 1)) is not None and one.phase == "failed", seconds=30)
    assert {ports[asked(observed.url)] for _ in range(5)} == {2}
    backend.discard(KEY, 1)
    assert backend.observe(KEY).weights == {2: 10}
    assert ports[asked(observed.url)] == 2
